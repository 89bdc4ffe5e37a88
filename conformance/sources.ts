/** Sections of kserve/open-inference-protocol, specification/protocol/inference_rest.md, at d49cc23. */
type Section =
  | 'HTTP/REST'
  | 'Model Ready'
  | 'Model Ready Response JSON Object'
  | 'Server Ready'
  | 'Server Ready Response JSON Object'
  | 'Server Live'
  | 'Server Live Response JSON Objet'
  | 'Server Metadata Response JSON Object'
  | 'Model Metadata Response JSON Object'
  | 'Model Metadata Response JSON Error Object'
  | 'Platforms'
  | 'Inference Request JSON Object'
  | 'Request Input'
  | 'Request Output'
  | 'Inference Response JSON Object'
  | 'Response Output'
  | 'Inference Response JSON Error Object'
  | 'Parameters'
  | 'Tensor Data'
  | 'Tensor Data Types'
  | 'Inference Request Examples'

/** @param note a quotation from the section, or a question that the section leaves open */
export const oip = (section: Section, note?: string) =>
  `OIP ${section}${note === undefined ? '' : `: ${note}`}`

/** triton-inference-server/server, docs/protocol/extension_binary_data.md, at e1db8a6. */
type BinarySection = 'Binary Tensor Request' | 'Raw Binary Request'

export const binaryExtension = (section: BinarySection, note?: string) =>
  `binary tensor data extension, ${section}${note === undefined ? '' : `: ${note}`}`

/** triton-inference-server/server, docs/protocol/extension_<name>.md. */
export const tritonExtension = (name: string, note?: string) =>
  `${name} extension${note === undefined ? '' : `, ${note}`}`

export const rfc = (number: number, section: string) => `RFC ${number} section ${section}`

/**
 * The source of a point about which the specification is silent, although clients expect it. The
 * point is then never `required`.
 */
export const silent = (expectation: string) => `OIP is silent: ${expectation}`
