import { bundlePage } from './bundle.mjs'

// The build replaces this module with the bundled pages (scripts/build.mjs), because production has
// no bundler.

export const DOCS_HTML = bundlePage('docs')
export const PLAYGROUND_HTML = bundlePage('playground')
