/** @returns {any} */
export const $ = (selector, within = /** @type {ParentNode} */ (document)) =>
  within.querySelector(selector)

export function make(tag, ...content) {
  const element = document.createElement(tag)
  element.append(...content)
  return element
}

/** Browsers allow clipboard access only on https and localhost; elsewhere, copy the selection. */
async function copyText(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent)
  getSelection().selectAllChildren(element)
  document.execCommand('copy')
}

/** Sets up a button that copies the element's text and confirms that it was copied. */
export function copies(button, element) {
  button.onclick = async () => {
    await copyText(element)
    button.textContent = 'Copied'
    setTimeout(() => {
      button.textContent = 'Copy'
    }, 2000)
  }
}

export function smallButton(text, action) {
  const button = make('button', text)
  button.type = 'button'
  button.className = 'small'
  button.onclick = action
  return button
}
