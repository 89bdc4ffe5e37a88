import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { readConfig } from '../../function/config/config.ts'
import { readArguments } from '../../kserve/arguments.ts'
import { testModel } from '../server.ts'

const NOWHERE = '/nowhere/models'

const configOf = (args: readonly string[], env: NodeJS.ProcessEnv = {}, mounted = NOWHERE) => {
  const given = readArguments(args, env, mounted)
  return readConfig(given.env, given.givenAs)
}

suite("KServe's arguments", () => {
  for (const [how, args] of [
    ['--flag=value', ['--model_name=iris', '--model_dir=/models', '--http_port=9000']],
    ['--flag value', ['--model_name', 'iris', '--model_dir', '/models', '--http_port', '9000']],
  ] as const) {
    test(`are accepted as ${how}, and override the environment`, () => {
      const { modelName, modelDir, port } = configOf(args, {
        MODEL_NAME: 'other',
        MODEL_DIR: '/other',
        PORT: '1',
      })
      assert.deepEqual([modelName, modelDir, port], ['iris', '/models', 9000])
    })
  }

  test('that are missing are read from the environment; if an argument is repeated, the last value is used', () => {
    assert.equal(configOf([], { MODEL_NAME: 'iris' }).modelName, 'iris')
    assert.equal(configOf(['--model_name=a', '--model_name', 'b']).modelName, 'b')
  })

  test('that only KServe’s own server implements are accepted, and reported as without effect', () => {
    const { withoutEffect } = readArguments(
      ['--workers=2', '--enable_predictor_health_check', '--grpc_port', '8081'],
      {},
      NOWHERE,
    )
    assert.deepEqual(
      withoutEffect.map(sentence => sentence.split(':')[0]),
      [
        '--workers has no effect',
        '--enable_predictor_health_check has no effect',
        '--grpc_port has no effect',
      ],
    )
  })

  const BAD: readonly [args: string[], says: string][] = [
    [['--http_port=http'], '--http_port is "http"; it must be an integer from 0 to 65535'],
    [['--http_port', '65536'], '--http_port is "65536"; it must be an integer from 0 to 65535'],
    [['--http_port=-1'], '--http_port is "-1"; it must be an integer from 0 to 65535'],
    [['--model_name=a/b'], '--model_name is "a/b"; it must be text without /'],
    [['--model_name='], '--model_name needs a value'],
    [['--model_name'], '--model_name needs a value'],
    [['--model_name', '--http_port=80'], '--model_name needs a value'],
    [
      ['--model-name=iris'],
      'argument --model-name is unknown; the allowed arguments are --model_name, --model_dir, --http_port',
    ],
    [
      ['--verbose'],
      'argument --verbose is unknown; the allowed arguments are --model_name, --model_dir, --http_port',
    ],
    [
      ['--__proto__=1'],
      'argument --__proto__ is unknown; the allowed arguments are --model_name, --model_dir, --http_port',
    ],
    [
      ['-v'],
      'argument -v is unknown; the allowed arguments are --model_name, --model_dir, --http_port',
    ],
    [
      ['iris'],
      'argument "iris" is unknown; the allowed arguments are --model_name, --model_dir, --http_port',
    ],
    [
      ['--model_dir=gs://bucket/iris'],
      '--model_dir is "gs://bucket/iris"; it must be a folder. KServe downloads the model at STORAGE_URI to /mnt/models',
    ],
  ]
  for (const [args, says] of BAD) {
    test(`${args.join(' ')} is rejected with a one-line error`, () =>
      assert.throws(() => configOf(args), { message: says }))
  }
})

suite('the model folder', () => {
  const mounted = testModel('scalar')

  test('is KServe’s mount if a model is mounted', () => {
    assert.equal(configOf([], {}, mounted).modelDir, mounted)
  })

  test('is the folder in the argument or environment, even if a model is mounted', () => {
    assert.equal(configOf(['--model_dir=/models'], {}, mounted).modelDir, '/models')
    assert.equal(configOf([], { MODEL_DIR: '/models' }, mounted).modelDir, '/models')
  })

  test('is that of the shipped model if nothing is mounted', () => {
    assert.match(configOf([]).modelDir, /models\/iris\/v1\.0\.0$/)
  })

  test('is KServe’s mount before the mount exists, if MODEL_INIT_MODE is async', () => {
    assert.equal(configOf([], { MODEL_INIT_MODE: 'async' }).modelDir, NOWHERE)
  })
})
