#!/usr/bin/env node
import { readConfig } from './config/config.ts'
import { runProcess } from './process.ts'

/** `npm start` and the command `onnx-function`: without arguments, both load only the server. */
const [, , ...args] = process.argv
if (args.length === 0) runProcess(() => ({ config: readConfig(process.env) }))
else void import('./cli/command.ts').then(({ runCommand }) => runCommand(args))
