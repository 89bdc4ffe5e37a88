import { bundlePage } from './bundle.mjs'

// The build puts the bundled pages in the place of this module (scripts/build.mjs): production has
// no bundler.

export const DOCS_HTML = bundlePage('docs')
export const PLAYGROUND_HTML = bundlePage('playground')
