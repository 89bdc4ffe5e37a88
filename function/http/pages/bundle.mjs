import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

// This module is plain JavaScript, so that the build can import it in any version of Node.

const FOLDER = new URL('./browser/', import.meta.url)

/**
 * Bundles a page of `browser/` into one HTML file that contains its style sheet and its script.
 * @param {string} name NAME in NAME.html, which refers to NAME.css and NAME.js
 * @returns {string}
 */
export function bundlePage(name) {
  const { outputFiles } = buildSync({
    absWorkingDir: fileURLToPath(FOLDER),
    entryPoints: [`${name}.css`, `${name}.js`],
    outdir: '.',
    write: false,
    bundle: true,
    format: 'esm',
    minify: true,
  })
  const bundled = extension => outputFiles.find(({ path }) => path.endsWith(extension)).text
  return readFileSync(new URL(`${name}.html`, FOLDER), 'utf8')
    .replace(
      `<link rel="stylesheet" href="${name}.css">`,
      () => `<style>${bundled('.css')}</style>`,
    )
    .replace(
      `<script type="module" src="${name}.js"></script>`,
      () => `<script type="module">${bundled('.js')}</script>`,
    )
}
