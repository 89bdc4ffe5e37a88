/** @returns {any} */
export const $ = (selector, within = /** @type {ParentNode} */ (document)) =>
  within.querySelector(selector)

export function make(tag, ...content) {
  const element = document.createElement(tag)
  element.append(...content)
  return element
}

/**
 * Browsers give the clipboard only to pages of https or localhost; elsewhere, the selection is
 * copied.
 */
async function copyText(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent)
  getSelection().selectAllChildren(element)
  document.execCommand('copy')
}

/** A button that copies what the element shows, and says so. */
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
