import manifest from '../../package.json' with { type: 'json' }
import { checkNode } from '../node-version.ts'
import { serve } from './serve.ts'
import { Usage } from './usage.ts'

interface Command {
  readonly usage: string
  readonly summary: string
  readonly load: () => Promise<(args: readonly string[]) => void | Promise<void>>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    usage: '[serve] [MODEL] [--port N] [--watch]',
    summary: 'serves a .onnx file or a model folder',
    // A static import: loading one more file would cost a millisecond at startup.
    load: async () => serve,
  },
  check: {
    usage: 'check MODEL [--json]',
    summary: 'shows the API that callers of a model see, and lists problems',
    load: async () => (await import('./check.ts')).check,
  },
  types: {
    usage: 'types [MODEL] [--check]',
    summary: 'writes the TypeScript types of a model',
    load: async () => (await import('./types.ts')).types,
  },
  build: {
    usage: 'build [TRANSFORM] [--out FILE]',
    summary: 'bundles a transform and its imports',
    load: async () => (await import('./build.ts')).build,
  },
  init: {
    usage: 'init FOLDER',
    summary: 'creates a small project',
    load: async () => (await import('./init.ts')).init,
  },
  conformance: {
    usage: 'conformance --url URL --model NAME',
    summary: 'tests whether a server conforms to the protocol',
    load: async () => (await import('./conformance.ts')).conformance,
  },
}

const HELP = `Serves an ONNX model over the Open Inference Protocol and CloudEvents, with your own TypeScript before and after the model.

${Object.values(COMMANDS)
  .map(({ usage, summary }) => `  onnx-function ${usage.padEnd(44)} ${summary}`)
  .join('\n')}
  onnx-function --version | --help

COMMAND --help shows the help of one command. All other settings are environment variables.
`

/** @param args process.argv without node and the script */
export async function runCommand(args: readonly string[]): Promise<void> {
  try {
    checkNode(process.versions.node)
    const [first = '', ...rest] = args
    if (['--help', '-h', 'help'].includes(first)) process.stdout.write(HELP)
    else if (['--version', '-v'].includes(first)) process.stdout.write(`${manifest.version}\n`)
    else if (Object.hasOwn(COMMANDS, first)) await (await COMMANDS[first]?.load())?.(rest)
    else await (await COMMANDS.serve?.load())?.(args)
  } catch (error) {
    fail(error as Error)
  }
}

function fail(error: Error): void {
  const hint = error instanceof Usage ? '; see --help' : ''
  process.stderr.write(`onnx-function: ${error.message.split('\n')[0]}${hint}\n`)
  process.exitCode = error instanceof Usage ? 2 : 1
}
