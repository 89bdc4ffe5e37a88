import type { Route } from '../http/routes.ts'
import { decodeMessage, type Message } from '../protocol/protobuf-decode.ts'
import { encodeMessage } from '../protocol/protobuf-encode.ts'
import type { Method } from '../protocol/protobuf-schema.ts'
import type { Service } from '../service.ts'
import type { Call } from './call.ts'

export interface Handler {
  /** The kind of the equivalent HTTP route. Health needs no authentication. */
  readonly kind?: Route['kind']
  /**
   * Ends a call that the server has no room for, before its message is read.
   * @returns whether the call was refused
   */
  readonly refuse?: (call: Call, service: Service) => boolean
  /**
   * Reads the call's messages and sends responses. Ends the call itself only if the status is not
   * OK.
   * @throws {Error} which becomes the call's status
   */
  readonly answer: (call: Call, method: Method, service: Service) => Promise<void>
}

export const unary = (
  answer: (request: Message, call: Call, service: Service) => Message | Promise<Message>,
  kind?: Route['kind'],
): Handler => ({
  kind,
  async answer(call, { input, output }, service) {
    const { message, reservation } = await call.readOnly()
    const response = await answer(decodeMessage(input, message), call, service)
    await call.send(encodeMessage(output, response).parts, reservation)
  },
})
