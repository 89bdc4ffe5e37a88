import type { IncomingMessage, ServerResponse } from 'node:http'
import express from 'express'
import type { EventService } from '../events/receive.ts'

export type Pages = (request: IncomingMessage, response: ServerResponse) => void

export function createPages(_service: EventService): Pages {
  return express()
}
