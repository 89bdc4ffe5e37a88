import { make } from './dom.js'

/** Creates an element that describes a problem with a control. */
export const problemElement = id =>
  Object.assign(make('p'), { id, className: 'problem', hidden: true })

/** Marks a control as invalid, and shows the reason. */
export function describe(control, problem) {
  control.dataset.described = control.getAttribute('aria-describedby') ?? ''
  control.setAttribute('aria-invalid', 'true')
  control.setAttribute('aria-describedby', `${problem.id} ${control.dataset.described}`.trim())
}

/** Removes the problems of all controls within an element. */
export function undescribe(element) {
  for (const problem of element.querySelectorAll('.field > .problem')) problem.remove()
  for (const control of element.querySelectorAll('[aria-invalid]')) {
    control.removeAttribute('aria-invalid')
    const { described = '' } = control.dataset
    if (described === '') control.removeAttribute('aria-describedby')
    else control.setAttribute('aria-describedby', described)
  }
}
