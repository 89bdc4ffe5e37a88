import { type ParseArgsConfig, parseArgs } from 'node:util'

export class Usage extends Error {}

/**
 * @throws {Usage} if an option is unknown or lacks its value, or if there are too many arguments
 */
export function readArguments<const Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  { options, positionals: most }: { readonly options: Options; readonly positionals: number },
) {
  const { values, positionals } = parse(args, options)
  if (positionals.length > most) throw new Usage(`unexpected argument: ${positionals[most]}`)
  return { values, positionals }
}

function parse<const Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Options,
) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (error) {
    throw new Usage((error as Error).message.split('. ')[0])
  }
}
