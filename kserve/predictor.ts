import { existsSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { MOUNTED_MODEL, readConfig } from '../function/config/config.ts'
import { runProcess, type Setup } from '../function/process.ts'
import { createApp } from './app.ts'
import { isMountedLate, readArguments } from './arguments.ts'
import { predictorRows } from './routes.ts'

/**
 * How long to wait for the model container to link its folder. Its image was pulled before this
 * process started.
 */
const MOUNT_TIMEOUT_MS = 60_000

runProcess(configure)

async function configure(): Promise<Setup> {
  const { env, givenAs, withoutEffect } = readArguments(process.argv.slice(2), process.env)
  const config = readConfig(env, givenAs)
  if (isMountedLate(env)) await untilMounted(env.MODEL_DIR ?? MOUNTED_MODEL)
  return {
    config,
    listening: { middleware: createApp(), rows: predictorRows(config) },
    warnings: withoutEffect,
  }
}

async function untilMounted(folder: string): Promise<void> {
  const deadline = performance.now() + MOUNT_TIMEOUT_MS
  while (!existsSync(folder) && performance.now() < deadline) await wait(20)
}
