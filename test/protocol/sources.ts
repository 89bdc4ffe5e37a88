/** Where points are written. */

/** A section of kserve/open-inference-protocol, specification/protocol/inference_rest.md. */
export const oip = (section: string) => `OIP REST, ${section}`

/** triton-inference-server/server, docs/protocol/extension_binary_data.md. */
export const BINARY = 'binary tensor data extension'

/** An IETF document's section. */
export const rfc = (number: number, section: string) => `RFC ${number} section ${section}`

/** Where the specification says nothing, what its users expect. */
export const silent = (expectation: string) => `OIP is silent: ${expectation}`
