#!/usr/bin/env node
import { readConfig } from './config/config.ts'
import { runProcess } from './process.ts'

/**
 * The entry point of `npm start` and of `onnx-function`. Without arguments, it loads only the
 * server.
 */
const [, , ...args] = process.argv
if (args.length === 0) runProcess(() => ({ config: readConfig(process.env) }))
else void import('./cli/command.ts').then(({ runCommand }) => runCommand(args))
