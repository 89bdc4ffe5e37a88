import {
  answers,
  BUILT_FROM,
  configOf,
  isBuilt,
  isVariable,
  PORT,
  refusesArguments,
  refusesEnvironment,
  replyTo,
  SERIES,
} from './code.ts'
import { checkTypesOfExample, EXAMPLE_FUNCTIONS } from './examples.ts'
import { containersOf, find, KNATIVE_SERVICE, kindOf, podsOf, typesOf } from './objects.ts'
import { type Bundle, exampleOf, exists, type Manifest, parse, read } from './sources.ts'

export type Problem = readonly [where: string, what: string]

/** The files to check. Tests pass a project with one mistake. */
export interface Project {
  readonly bundles: readonly Bundle[]
  /** Undefined if the file is missing. */
  readonly text: (path: string) => string | undefined
}

export const theProject = (bundles: readonly Bundle[]): Project => ({
  bundles,
  text: path => (exists(path) ? read(path) : undefined),
})

/** KServe and glibc read these variables; the function does not. */
const PLATFORM_ENVIRONMENT = ['PROTOCOL', 'STORAGE_URI', 'MALLOC_MMAP_THRESHOLD_']
/**
 * The image of kserve/canary, which does not contain the function, and the variables of that image.
 */
const CANARY_IMAGE = 'onnx-function-canary'
const CANARY_ENVIRONMENT = ['PROMETHEUS_URL']
const CONSUMER = 'build/consumer.js'

const when = (wrong: boolean, message: string) => (wrong ? [message] : [])

export const checkAgreement = (project: Project): Problem[] => [
  ...project.bundles.flatMap(bundle =>
    bundle.objects.flatMap(object =>
      [
        ...checkContainers(object, project),
        ...checkTimes(object),
        ...(CHECKS[object.kind]?.(object, bundle, project) ?? []),
        ...checkMetrics(object),
      ].map((what): Problem => [`${bundle.name}: ${object.kind} ${object.metadata.name}`, what]),
    ),
  ),
  ...checkRevisions(project),
  ...checkFunc(project).map((what): Problem => ['func.yaml', what]),
  ...EXAMPLE_FUNCTIONS.flatMap(file =>
    checkFuncOfExample(file, project).map((what): Problem => [file, what]),
  ),
  ...checkFuncIgnore(project).map((what): Problem => ['.funcignore', what]),
  ...checkImage(project).map((what): Problem => ['Dockerfile', what]),
  ...checkCompose(project).map((what): Problem => ['compose.yaml', what]),
]

const packageJson = ({ text }: Project) => JSON.parse(text('package.json') ?? '{}')

const knativeService = ({ bundles }: Project): Manifest =>
  bundles
    .find(({ name }) => name === 'knative/base')
    ?.objects.find(object => kindOf(object) === KNATIVE_SERVICE)

/** The name of an image without its registry, tag and digest. */
const nameOf = (image: string) => /([^/:@]+)(:[^/]*)?(@.*)?$/.exec(image)?.[1]

const ourImage = (project: Project) =>
  nameOf(knativeService(project)?.spec.template.spec.containers[0].image)

const checkContainers = (object: Manifest, project: Project): string[] =>
  containersOf(object).flatMap(({ value: container, at }) => {
    const image = String(container.image)
    const { version } = packageJson(project)
    const problems = when(
      !image.includes('@sha256:') && image.split(':').at(-1) !== version,
      `${at}.image is ${image}; package.json's version is ${version}`,
    )
    if (nameOf(image) === CANARY_IMAGE) return [...problems, ...checkCanary(container, at)]
    const ours = ourImage(project)
    return [
      ...problems,
      ...when(nameOf(image) !== ours, `${at}.image is ${image}; the other containers run ${ours}`),
      ...checkProgram(container, at),
      ...checkEnvironment(container.env ?? [], at),
    ]
  })

function checkCanary({ args = [], env = [] }: Manifest, at: string): string[] {
  const refused = refusesArguments(args)
  return [
    ...env
      .filter(({ name }: Manifest) => !CANARY_ENVIRONMENT.includes(name))
      .map(({ name }: Manifest) => `${at}.env: the canary does not read the variable ${name}`),
    ...(refused === undefined ? [] : [`${at}.args: ${refused}`]),
  ]
}

const programOf = ({ args = [] }: Manifest): string =>
  args.find((argument: string) => argument.startsWith('build/')) ?? 'build/main.js'

/** The build must write a container's program, which must have the port and probes. */
function checkProgram(container: Manifest, at: string): string[] {
  const program = programOf(container)
  if (!isBuilt(program)) return [`${at}.args: npm run build does not write ${program}`]
  const isAnswered = (path: string) =>
    answers(path) && (program !== CONSUMER || path.startsWith('/health/'))
  return [
    ...find(container, 'ports/*/containerPort').flatMap(({ value: port }) =>
      when(port !== PORT, `${at}.ports.containerPort is ${port}; the function listens on ${PORT}`),
    ),
    ...['readinessProbe', 'livenessProbe', 'startupProbe'].flatMap(name => {
      const { path, port } = container[name]?.httpGet ?? {}
      return [
        ...when(
          path !== undefined && !isAnswered(path),
          `${at}.${name}.httpGet.path: ${program} has no route ${path}`,
        ),
        ...when(
          typeof port === 'number' && port !== PORT,
          `${at}.${name}.httpGet.port is ${port}; the function listens on ${PORT}`,
        ),
      ]
    }),
  ]
}

type Variables = readonly { readonly name: string; readonly value?: string }[]

const environmentOf = (variables: Variables) =>
  Object.fromEntries(variables.map(({ name, value }) => [name, value]))

/** The function must read every variable, and start with these values. */
function checkEnvironment(variables: Variables, at: string): string[] {
  const own = variables.filter(({ name }) => !PLATFORM_ENVIRONMENT.includes(name))
  const folder = environmentOf(own).MODEL_DIR
  const refused = refusesEnvironment(environmentOf(own))
  return [
    ...own
      .filter(({ name }) => !isVariable(name))
      .map(({ name }) => `${at}.env: docs/configuration.md does not list ${name}`),
    ...own
      .filter(({ name }, i) => own.findIndex(other => other.name === name) !== i)
      .map(({ name }) => `${at}.env: ${name} appears twice`),
    ...when(
      folder?.startsWith('models/') === true && !exists(`${folder}/model.onnx`),
      `${at}.env: MODEL_DIR is ${folder}, which images do not contain`,
    ),
    ...(refused === undefined ? [] : [`${at}.env: ${refused}`]),
  ]
}

/** Within the grace period, a pod must complete all accepted requests. */
function checkTimes(object: Manifest): string[] {
  const [main] = containersOf(object)
  const pod = podsOf(object)[0]?.value
  const environment = environmentOf(main?.value.env ?? [])
  if (main === undefined || programOf(main.value) === CONSUMER) return []
  if (refusesEnvironment(environment) !== undefined) return []
  const { requestTimeoutMs, drainTimeoutMs, drainDelayMs } = configOf(environment)
  if (kindOf(object) === KNATIVE_SERVICE) {
    // The grace period is timeoutSeconds, of which Knative waits 30 s before it sends SIGTERM
    // (knative/serving: pkg/queue/drain).
    const least = 30 + (requestTimeoutMs + drainTimeoutMs) / 1000
    const { timeoutSeconds = 300 } = pod
    return when(
      timeoutSeconds < least,
      `spec.template.spec.timeoutSeconds is ${timeoutSeconds}; draining may take ${least} s`,
    )
  }
  if (kindOf(object) !== 'Deployment') return []
  const { terminationGracePeriodSeconds: grace = 30 } = pod
  return [
    ...when(
      drainDelayMs === 0,
      `${main.at}.env: DRAIN_DELAY_MS is missing; the pod would refuse requests that are already routed to it`,
    ),
    ...when(
      grace <= drainTimeoutMs / 1000,
      `spec.template.spec.terminationGracePeriodSeconds is ${grace}; it must be more than DRAIN_TIMEOUT_MS (${drainTimeoutMs})`,
    ),
    ...when(
      drainTimeoutMs < drainDelayMs + requestTimeoutMs,
      `${main.at}.env: DRAIN_TIMEOUT_MS is less than DRAIN_DELAY_MS plus REQUEST_TIMEOUT_MS`,
    ),
  ]
}

const CHECKS: Readonly<
  Record<string, (object: Manifest, bundle: Bundle, project: Project) => string[]>
> = {
  Trigger: checkTypes,
  PingSource: checkSample,
  RequestReply: checkCorrelation,
  PodMonitor: checkMonitor,
}

const PING = 'dev.knative.sources.ping'

/** Every event type in a filter must be sent, and the function must not receive its own replies. */
function checkTypes(object: Manifest, bundle: Bundle, { text }: Project): string[] {
  const example = exampleOf(bundle.name)
  if (example !== undefined) return checkTypesOfExample(object, bundle, { example, text })
  const triggers = bundle.objects.filter(({ kind }) => kind === 'Trigger')
  const replies = triggers.flatMap(typesOf).map(type => replyTo({ type }).type)
  const asked = /ce-type: (\S+?)'/.exec(text('README.md') ?? '')?.[1]
  const pinged = bundle.objects.some(({ kind }) => kind === 'PingSource')
  if (object.spec.subscriber?.ref?.name !== functionName(bundle))
    return typesOf(object)
      .filter(type => bundle.whole && !replies.includes(type))
      .map(type => `spec.filters: no event of these Triggers makes the function reply with ${type}`)
  return typesOf(object).flatMap(type => [
    ...when(
      type !== asked && !(type === PING && pinged),
      `spec.filters: no sender uses the type ${type}; the README's example has ${asked}`,
    ),
    ...when(
      replies.includes(type),
      `spec.filters: ${type} is the type of the function's own replies`,
    ),
  ])
}

const functionName = ({ objects }: Bundle) =>
  objects.find(
    object => kindOf(object) === KNATIVE_SERVICE && !object.spec.template.spec.containers[0].args,
  )?.metadata.name ?? 'iris-classifier'

function checkCorrelation({ spec }: Manifest): string[] {
  const { correlationAttribute: from, replyAttribute: to } = spec
  return when(
    replyTo({ [from]: 'asked' })[to] !== 'asked',
    `spec: the function does not copy ${from} to ${to}`,
  )
}

/** A PingSource must send the sample of the shipped model. */
function checkSample({ spec }: Manifest): string[] {
  const { sample } = JSON.parse(read('models/iris/v1.0.0/model.json'))
  let request: Manifest
  try {
    request = JSON.parse(spec.data)
  } catch {
    return ['spec.data is not JSON']
  }
  return (request.inputs ?? [{}]).flatMap(({ name, data }: Manifest) =>
    when(
      JSON.stringify(data?.flat()) !== JSON.stringify(sample[name]?.flat()),
      `spec.data: input "${name}" is not the sample of models/iris/v1.0.0/model.json`,
    ),
  )
}

/** A monitor must select pods of existing Services. */
function checkMonitor({ spec }: Manifest, _bundle: Bundle, { bundles }: Project): string[] {
  const made = bundles.flatMap(({ objects }) =>
    objects.flatMap(object => {
      if (kindOf(object) === KNATIVE_SERVICE) return [object.metadata.name]
      // In Knative mode, KServe creates a Service with this name.
      return object.kind === 'InferenceService' ? [`${object.metadata.name}-predictor`] : []
    }),
  )
  return (spec.selector?.matchExpressions ?? [])
    .filter(({ key }: Manifest) => key === 'serving.knative.dev/service')
    .flatMap(({ values = [] }: Manifest) => values)
    .filter((name: string) => !made.includes(name))
    .map((name: string) => `spec.selector: no object creates a Knative Service "${name}"`)
}

function queriesOf(value: unknown, key = ''): string[] {
  if (typeof value === 'string') return ['query', 'expr'].includes(key) ? [value] : []
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) => queriesOf(inner, name))
}

// The function's metrics. A name with a colon is the series of a recording rule.
const OUR_SERIES =
  /(?<![\w:])(?:inference_|cold_start_|model_|function_|dead_letters_)\w+(?![\w:])/g

/** A scaler or a rule must query an existing metric. */
function checkMetrics(object: Manifest): string[] {
  const queries = queriesOf(object.spec)
  const names = [
    ...queries.flatMap(query => query.match(OUR_SERIES) ?? []),
    ...find(object, 'spec/metrics/*/pods/metric/name').flatMap(({ value }) => value ?? []),
  ]
  return [
    ...when(
      object.kind === 'ScaledObject' && queries.some(query => !/inference_/.test(query)),
      'spec.triggers: the query uses no metric of the function',
    ),
    ...[...new Set(names)]
      .filter(name => !SERIES.has(name))
      .map(name => `the function has no metric ${name}`),
  ]
}

/** Knative refuses a second template for the same revision name. */
function checkRevisions({ bundles }: Project): Problem[] {
  const templates = new Map<string, { where: string; spec: string }>()
  return bundles.flatMap(({ name: where, objects }) =>
    objects
      .filter(object => kindOf(object) === KNATIVE_SERVICE)
      .flatMap(({ spec }): Problem[] => {
        const name = spec.template.metadata?.name
        if (name === undefined) return []
        const text = JSON.stringify(spec.template)
        const other = templates.get(name) ?? { where, spec: text }
        templates.set(name, other)
        return [
          ...when(
            (spec.traffic ?? []).every(({ revisionName }: Manifest) => revisionName !== name),
            `spec.traffic does not name the revision ${name}, which this Service creates`,
          ),
          ...when(
            other.spec !== text,
            `spec.template: the revision ${name} differs from the revision in ${other.where}`,
          ),
        ].map(what => [where, what])
      }),
  )
}

/** Fields of func.yaml's deploy.options, with the matching annotations of knative/base. */
const SCALE = {
  min: 'min-scale',
  max: 'max-scale',
  metric: 'metric',
  target: 'target',
  utilization: 'target-utilization-percentage',
}

/** Matching fields of func.yaml and knative/base, as pairs of paths. */
const SAME: readonly (readonly [func: string, service: string])[] = [
  ['name', 'metadata/name'],
  ['deploy/options/resources/limits/concurrency', 'spec/template/spec/containerConcurrency'],
  ...['requests', 'limits'].flatMap(what =>
    ['cpu', 'memory'].map(
      which =>
        [
          `deploy/options/resources/${what}/${which}`,
          `CONTAINER/resources/${what}/${which}`,
        ] as const,
    ),
  ),
  ['deploy/healthEndpoints/liveness', 'CONTAINER/livenessProbe/httpGet/path'],
  ['deploy/healthEndpoints/readiness', 'CONTAINER/readinessProbe/httpGet/path'],
]

/** func.yaml must agree with the Knative Service. */
function checkFunc(project: Project): string[] {
  const [func] = parse(project.text('func.yaml') ?? '', 'func.yaml')
  const service = knativeService(project)
  const one = (from: Manifest, path: string) =>
    find(from, path.replace('CONTAINER', 'spec/template/spec/containers/0'))[0]?.value
  const { annotations } = service.spec.template.metadata
  const pairs = [
    ...SAME.map(([here, there]) => [here, one(func, here), one(service, there)]),
    ...Object.entries(SCALE).map(([name, annotation]) => [
      `deploy/options/scale/${name}`,
      one(func, `deploy/options/scale/${name}`),
      annotations[`autoscaling.knative.dev/${annotation}`],
    ]),
    [
      'run/envs',
      JSON.stringify(func.run?.envs ?? []),
      JSON.stringify(one(service, 'CONTAINER/env') ?? []),
    ],
  ]
  return [
    ...pairs
      .filter(([, here, there]) => String(here) !== String(there))
      .map(
        ([path, here, there]) =>
          `${path.replaceAll('/', '.')} is ${here}; knative/base has ${there}`,
      ),
    ...checkEnvironment(func.run?.envs ?? [], 'run'),
    ...checkBuilders(func, packageJson(project), project),
    ...checkSubscriptions(func.deploy?.subscriptions ?? [], project),
  ]
}

/** An example must be built and configured like the function. */
function checkFuncOfExample(file: string, project: Project): string[] {
  const [func] = parse(project.text(file) ?? '', file)
  const example = JSON.parse(project.text(file.replace('func.yaml', 'package.json')) ?? '{}')
  return [
    ...checkEnvironment(func.run?.envs ?? [], 'run'),
    ...checkBuilders(func, example, project),
  ]
}

/** Builders must use package.json's scripts and the tested Node version. */
function checkBuilders(func: Manifest, { scripts }: Manifest, project: Project): string[] {
  const environment = environmentOf(func.build?.buildEnvs ?? [])
  const { BP_NODE_RUN_SCRIPTS: script, BP_NODE_VERSION: node, NODE_CMD: start } = environment
  const [major] = packageJson(project).devDependencies.node.split('.')
  const s2i = func.build?.builderImages?.s2i
  return [
    ...when(
      !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/.test(func.created),
      `created is "${func.created}"; it must be a time, or func does not recognize the function`,
    ),
    ...when(func.runtime !== 'typescript', `runtime is ${func.runtime}`),
    ...when(
      script !== undefined && scripts[script] === undefined,
      `build.buildEnvs: package.json has no script ${script}`,
    ),
    ...when(
      node !== `${major}.*`,
      `build.buildEnvs: BP_NODE_VERSION is ${node}; package.json has Node ${major}`,
    ),
    ...when(
      start !== scripts.start,
      `build.buildEnvs: NODE_CMD is "${start}"; package.json starts "${scripts.start}"`,
    ),
    // The builder's run script reads NODE_CMD and INIT_WRAPPER (sclorg/s2i-nodejs-container:
    // 24-minimal/s2i/bin/run).
    ...when(
      environment.INIT_WRAPPER !== 'false',
      'build.buildEnvs: INIT_WRAPPER must be false, or the builder ignores NODE_CMD',
    ),
    ...when(
      !String(s2i).includes(`nodejs-${major}-`),
      `build.builderImages.s2i is ${s2i}; package.json has Node ${major}`,
    ),
    ...when(
      'NODE_ENV' in environment,
      'build.buildEnvs: NODE_ENV must not be set, or builders do not install the packages that the build needs',
    ),
  ]
}

function checkSubscriptions(subscriptions: readonly Manifest[], { bundles }: Project): string[] {
  const objects = bundles.flatMap(bundle => bundle.objects)
  const types = objects.filter(({ kind }) => kind === 'Trigger').flatMap(typesOf)
  const brokers = objects
    .filter(({ kind }) => kind === 'Broker')
    .map(({ metadata }) => metadata.name)
  return subscriptions.flatMap(({ source, filters }) => [
    ...when(
      !types.includes(filters?.type),
      `deploy.subscriptions: no Trigger has the type ${filters?.type}`,
    ),
    ...when(!brokers.includes(source), `deploy.subscriptions: there is no Broker "${source}"`),
  ])
}

/** func must upload every source of the build, but not node_modules and .git. */
function checkFuncIgnore({ text }: Project): string[] {
  const ignored = (text('.funcignore') ?? '').split('\n')
  const needed = [...BUILT_FROM, 'models', 'scripts', 'package.json', 'package-lock.json', '.npmrc']
  return [
    ...needed
      .filter(path => ignored.includes(path))
      .map(path => `the file excludes ${path}, which the build needs`),
    ...['node_modules', '.git']
      .filter(path => !ignored.includes(path))
      .map(path => `the file does not exclude ${path}`),
  ]
}

/** Checks the image's port, and that its build gets all folders that it needs. */
function checkImage({ text }: Project): string[] {
  const ignore = (text('.dockerignore') ?? '').split('\n').map(line => line.replace(/\/$/, ''))
  return [
    ...when(
      !text('Dockerfile')?.split('\n').includes(`EXPOSE ${PORT}`),
      `EXPOSE is not ${PORT}, the port on which the function listens`,
    ),
    ...[...BUILT_FROM]
      .filter(folder => ignore.includes('*') && !ignore.includes(`!${folder}`))
      .map(folder => `.dockerignore excludes ${folder}, which the build needs`),
  ]
}

/** compose.yaml must run the deployed image, and contain no password. */
function checkCompose(project: Project): string[] {
  const [{ services }] = parse(project.text('compose.yaml') ?? '', 'compose.yaml')
  const all = Object.entries<Manifest>(services)
  const ours = all.filter(
    ([, { build, image }]) => build !== undefined || nameOf(String(image)) === ourImage(project),
  )
  return [
    ...when(ours.length === 0, 'no service runs the function'),
    ...all.flatMap(([name, { environment, image }]) => [
      ...variablesOf(environment)
        .filter(
          ({ name: variable, value }) =>
            /PASSWORD|SECRET|TOKEN/.test(variable) && !/^(\$\{.*\})?$/s.test(value),
        )
        .map(({ name: variable }) => `${name}: the file contains the value of ${variable}`),
      ...when(image !== undefined && !/[:@$]/.test(image), `${name}: ${image} has no tag`),
    ]),
    ...ours.flatMap(([name, { environment, ports = [] }]) => [
      ...checkEnvironment(
        variablesOf(environment).map(({ name: variable, value }) => ({
          name: variable,
          value: value.replace(/^\$\{[^:}]+(?::?-([^}]*))?\}$/, '$1'),
        })),
        name,
      ),
      ...ports.flatMap((port: Manifest) =>
        when(
          String(port.target ?? port)
            .split(':')
            .at(-1) !== String(PORT),
          `${name}: a published port does not lead to ${PORT}`,
        ),
      ),
    ]),
  ]
}

/** A service's environment is a list of NAME=value or a map. */
const variablesOf = (environment: Manifest = {}): { name: string; value: string }[] =>
  Array.isArray(environment)
    ? environment.map((entry: string) => {
        const [name = '', ...value] = entry.split('=')
        return { name, value: value.join('=') }
      })
    : Object.entries(environment).map(([name, value]) => ({ name, value: String(value) }))
