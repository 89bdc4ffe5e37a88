import { readConfig } from '../../function/config/config.ts'
import { VARIABLES } from '../../function/config/variables.ts'
import { replyAttributes } from '../../function/events/reply.ts'
import { DEAD_LETTER_METRICS, METRICS } from '../../function/telemetry/metrics.ts'
import { readOptions } from '../../kserve/canary/options.ts'
import { containersOf, isShippedModel, kindOf, podOf } from './rules.ts'
import { type Bundle, exists, type Manifest, parse, read } from './sources.ts'

/** What a problem is about, and what it is. */
export type Problem = readonly [where: string, what: string]

/** Everything that is compared; a test breaks it one part at a time. */
export interface Project {
  readonly bundles: readonly Bundle[]
  /** Texts of files that are no manifests, by path; undefined where there is none. */
  readonly text: (path: string) => string | undefined
}

export const theProject = (bundles: readonly Bundle[]): Project => ({
  bundles,
  text: path => (exists(path) ? read(path) : undefined),
})

const PORT = Number(VARIABLES.PORT.default)
/** What KServe reads of a predictor's environment, and not the function. */
const PLATFORM_ENVIRONMENT = ['PROTOCOL', 'STORAGE_URI']
const PROGRAMS: Readonly<Record<string, { readonly source: string; readonly paths: string }>> = {
  'build/main.js': { source: 'function/main.ts', paths: 'function/http/routes.ts' },
  'build/consumer.js': { source: 'knative/consumer.ts', paths: 'knative/consumer.ts' },
  'build/predictor.js': { source: 'kserve/predictor.ts', paths: 'function/http/routes.ts' },
}

/** The image of kserve/canary, which runs nothing of the function. */
const CANARY_IMAGE = 'onnx-function-canary'
/** What its command reads of the environment. */
const CANARY_ENVIRONMENT = ['PROMETHEUS_URL']

/** That what is said in two places is the same in both. */
export function checkAgreement(project: Project): Problem[] {
  const declared = Object.keys({ ...METRICS, ...DEAD_LETTER_METRICS })
  const names = new Set(
    declared.flatMap(name => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]),
  )
  return [
    ...project.bundles.flatMap(bundle =>
      bundle.objects.flatMap(object => {
        const where = `${bundle.name}: ${object.kind} ${object.metadata.name}`
        const problems = [
          ...checkContainers(object, project),
          ...checkTimes(object),
          ...checkTypes(object, bundle, project),
          ...checkMetrics(object, names),
          ...checkMonitor(object, project),
        ]
        return problems.map((problem): Problem => [where, problem])
      }),
    ),
    ...checkRevisions(project),
    ...checkFunc(project),
    ...checkImage(project),
    ...checkCompose(project),
  ]
}

const when = (wrong: boolean, message: string) => (wrong ? [message] : [])

const packageJson = ({ text }: Project) => JSON.parse(text('package.json') ?? '{}')

/** The image as the Service of Knative names it; everything else follows. */
const imageOf = (project: Project) =>
  String(knativeService(project)?.spec.template.spec.containers[0].image)

const knativeService = ({ bundles }: Project): Manifest =>
  bundles
    .find(({ name }) => name === 'knative/base')
    ?.objects.find(object => kindOf(object) === 'serving.knative.dev/Service')

const repository = (image: string) => image.replace(/@.*$/, '').replace(/:[^:/]*$/, '')
const withoutRegistry = (image: string) => repository(image).split('/').at(-1)

/** Name, tag, program, port, probes and environment of every container. */
function checkContainers(object: Manifest, project: Project): string[] {
  const image = imageOf(project)
  const { version } = packageJson(project)
  return containersOf(object).flatMap(({ container, at }) => {
    const wrongVersion = when(
      !/@sha256:/.test(container.image) && container.image?.split(':').at(-1) !== version,
      `${at}.image is ${container.image}; package.json's version is ${version}`,
    )
    if (withoutRegistry(String(container.image)) === CANARY_IMAGE)
      return [...wrongVersion, ...checkCanary(container, at)]
    const problems = [
      ...when(
        withoutRegistry(String(container.image)) !== withoutRegistry(image),
        `${at}.image is ${container.image}; the others are ${repository(image)}`,
      ),
      ...wrongVersion,
    ]
    const program =
      container.args?.find((argument: string) => argument.startsWith('build/')) ?? 'build/main.js'
    const known = PROGRAMS[program]
    if (known === undefined || !project.text('scripts/build.mjs')?.includes(`'${known.source}'`)) {
      return [...problems, `${at}.args: scripts/build.mjs makes no ${program}`]
    }
    const ports = (container.ports ?? []).map(({ containerPort }: Manifest) => containerPort)
    problems.push(
      ...when(
        ports.some((port: number) => port !== PORT),
        `${at}.ports.containerPort is ${ports}; the function listens on ${PORT}`,
      ),
    )
    for (const name of ['readinessProbe', 'livenessProbe', 'startupProbe']) {
      const { path, port } = container[name]?.httpGet ?? {}
      if (path === undefined) continue
      problems.push(
        ...when(
          !project.text(known.paths)?.includes(`'${path}'`),
          `${at}.${name}.httpGet.path: ${known.paths} has no ${path}`,
        ),
        ...when(
          typeof port === 'number' && port !== PORT,
          `${at}.${name}.httpGet.port is ${port}; the function listens on ${PORT}`,
        ),
      )
    }
    return [...problems, ...checkEnvironment(container.env ?? [], at)]
  })
}

/** That the canary's command takes its arguments, and reads what it is given. */
function checkCanary({ args = [], env = [] }: Manifest, at: string): string[] {
  const unread = env
    .filter(({ name }: Manifest) => !CANARY_ENVIRONMENT.includes(name))
    .map(({ name }: Manifest) => `${at}.env: the canary reads no ${name}`)
  try {
    readOptions(args)
    return unread
  } catch (error) {
    return [...unread, `${at}.args: ${(error as Error).message}`]
  }
}

/** That the function knows every variable, and would start with these values. */
function checkEnvironment(
  variables: readonly { name: string; value?: string }[],
  at: string,
): string[] {
  const own = variables.filter(({ name }) => !PLATFORM_ENVIRONMENT.includes(name))
  const unknown = own
    .filter(({ name }) => !(name in VARIABLES))
    .map(({ name }) => `${at}.env: docs/configuration.md has no ${name}`)
  const twice = own
    .filter(({ name }, i) => own.findIndex(other => other.name === name) !== i)
    .map(({ name }) => `${at}.env: ${name} is there twice`)
  const environment = Object.fromEntries(own.map(({ name, value }) => [name, value]))
  const folder = environment.MODEL_DIR
  const missing =
    folder?.startsWith('models/') && !isShippedModel(folder)
      ? [`${at}.env: MODEL_DIR is ${folder}, which images do not hold`]
      : []
  try {
    readConfig(environment)
    return [...unknown, ...twice, ...missing]
  } catch (error) {
    return [...unknown, ...twice, ...missing, `${at}.env: ${(error as Error).message}`]
  }
}

/** That a pod is let live until what it has taken is answered. */
function checkTimes(object: Manifest): string[] {
  const pod = podOf(object)
  const [main] = containersOf(object)
  if (pod === undefined || main === undefined || main.container.args?.includes('build/consumer.js'))
    return []
  const environment = Object.fromEntries(
    (main.container.env ?? []).map(({ name, value }: Manifest) => [name, value]),
  )
  let config: ReturnType<typeof readConfig>
  try {
    config = readConfig(environment)
  } catch {
    return []
  }
  const seconds = (milliseconds: number) => milliseconds / 1000
  switch (kindOf(object)) {
    case 'serving.knative.dev/Service': {
      // Of the grace period, which is timeoutSeconds, 30 s pass before TERM (knative/serving: pkg/queue/drain).
      const least = 30 + seconds(config.requestTimeoutMs) + seconds(config.drainTimeoutMs)
      const { timeoutSeconds = 300 } = pod.spec
      return when(
        timeoutSeconds < least,
        `spec.template.spec.timeoutSeconds is ${timeoutSeconds}; draining may take ${least}`,
      )
    }
    case 'Deployment': {
      const { terminationGracePeriodSeconds: grace = 30 } = pod.spec
      return [
        ...when(
          config.drainDelayMs === 0,
          `${main.at}.env: DRAIN_DELAY_MS is missing; requests on their way would be refused`,
        ),
        ...when(
          grace <= seconds(config.drainTimeoutMs),
          `spec.template.spec.terminationGracePeriodSeconds is ${grace}; DRAIN_TIMEOUT_MS is ${config.drainTimeoutMs}`,
        ),
        ...when(
          config.drainTimeoutMs < config.drainDelayMs + config.requestTimeoutMs,
          `${main.at}.env: DRAIN_TIMEOUT_MS is less than DRAIN_DELAY_MS and REQUEST_TIMEOUT_MS together`,
        ),
      ]
    }
    default:
      return []
  }
}

/** The type of the reply to a type, as the function makes it. */
function replyTo(type: string): string {
  const request = { specversion: '1.0', id: '1', source: '/', type }
  return replyAttributes(
    request,
    'response',
    { source: '/', modelName: '', modelVersion: undefined },
    'application/json',
  ).type as string
}

const typesOf = ({ spec }: Manifest): string[] =>
  (Array.isArray(spec.filters) ? spec.filters : []).flatMap(({ exact }: Manifest) =>
    exact?.type === undefined ? [] : [exact.type],
  )

const PING = 'dev.knative.sources.ping'

/** That every type somebody waits for is sent by somebody, and that the function's own replies do not come back to it. */
function checkTypes(object: Manifest, bundle: Bundle, project: Project): string[] {
  if (object.kind === 'RequestReply') {
    const copied = new RegExp(
      `'${object.spec.correlationAttribute}', '${object.spec.replyAttribute}'`,
    )
    return when(
      !copied.test(project.text('function/events/reply.ts') ?? ''),
      `spec: the function copies no ${object.spec.correlationAttribute} to ${object.spec.replyAttribute}`,
    )
  }
  if (object.kind === 'PingSource') return checkSample(object)
  if (object.kind !== 'Trigger') return []
  const triggers = bundle.objects.filter(({ kind }) => kind === 'Trigger')
  const replies = triggers.flatMap(typesOf).map(replyTo)
  const asked = sampleType(project)
  return typesOf(object).flatMap(type => {
    const fromFunction = object.spec.subscriber?.ref?.name === functionName(bundle)
    if (fromFunction) {
      const sent =
        type === asked ||
        (type === PING && bundle.objects.some(({ kind }) => kind === 'PingSource'))
      return [
        ...when(!sent, `spec.filters: nobody sends ${type}; the README's type is ${asked}`),
        ...when(
          replies.includes(type),
          `spec.filters: ${type} is the type of the function's own replies`,
        ),
      ]
    }
    return when(
      bundle.whole && !replies.includes(type),
      `spec.filters: no Trigger here makes the function reply with ${type}`,
    )
  })
}

/** The Service whose program is the function. */
const functionName = ({ objects }: Bundle) =>
  objects.find(
    object =>
      kindOf(object) === 'serving.knative.dev/Service' &&
      !object.spec.template.spec.containers[0].args,
  )?.metadata.name ?? 'iris-classifier'

const sampleType = ({ text }: Project) => /ce-type: (\S+?)'/.exec(text('README.md') ?? '')?.[1]

/** That what is sent every minute is the shipped model's own sample. */
function checkSample({ spec }: Manifest): string[] {
  const { sample } = JSON.parse(read('models/iris/v1.0.0/model.json'))
  let request: Manifest
  try {
    request = JSON.parse(spec.data)
  } catch {
    return ['spec.data is no JSON']
  }
  return (request.inputs ?? [{}]).flatMap(({ name, data }: Manifest) =>
    when(
      JSON.stringify(data?.flat()) !== JSON.stringify(sample[name]?.flat()),
      `spec.data: input "${name}" is not the sample of models/iris/v1.0.0/model.json`,
    ),
  )
}

/** That a scaler or a rule asks for a metric that is there. */
function checkMetrics(object: Manifest, known: ReadonlySet<string>): string[] {
  const queries: string[] = []
  const collect = (value: unknown, key = ''): void => {
    if (typeof value === 'string' && ['query', 'expr'].includes(key)) queries.push(value)
    else if (typeof value === 'object' && value !== null)
      for (const [name, inner] of Object.entries(value)) collect(inner, name)
  }
  collect(object.spec)
  const names = [
    ...queries.flatMap(query =>
      // What is recorded has a colon in its name, and is another series.
      [
        ...query.matchAll(
          /(?<![\w:])(?:inference_|cold_start_|model_|function_|dead_letters_)\w+(?![\w:])/g,
        ),
      ].map(([name]) => name),
    ),
    ...(object.kind === 'HorizontalPodAutoscaler'
      ? object.spec.metrics.flatMap(({ pods }: Manifest) =>
          pods === undefined ? [] : [pods.metric?.name],
        )
      : []),
  ]
  const empty =
    object.kind === 'ScaledObject' && queries.some(query => !/inference_/.test(query))
      ? ['spec.triggers: the query asks for none of our metrics']
      : []
  return [
    ...empty,
    ...[...new Set(names)]
      .filter(name => !known.has(name))
      .map(name => `the function has no metric ${name}`),
  ]
}

/** That a monitor selects pods of Services that are made. */
function checkMonitor({ kind, spec }: Manifest, { bundles }: Project): string[] {
  if (kind !== 'PodMonitor') return []
  const services = bundles.flatMap(({ objects }) =>
    objects.flatMap(object => {
      if (kindOf(object) === 'serving.knative.dev/Service') return [object.metadata.name]
      // KServe's, in Knative mode.
      return object.kind === 'InferenceService' ? [`${object.metadata.name}-predictor`] : []
    }),
  )
  const selected: string[] = (spec.selector?.matchExpressions ?? []).flatMap(
    ({ key, values = [] }: Manifest) => (key === 'serving.knative.dev/service' ? values : []),
  )
  return selected
    .filter(name => !services.includes(name))
    .map(name => `spec.selector: nothing here makes a Knative Service "${name}"`)
}

/** That a revision with a name is the same everywhere: Knative refuses another template under the same name. */
function checkRevisions({ bundles }: Project): Problem[] {
  const templates = new Map<string, { where: string; spec: string }>()
  return bundles.flatMap(({ name: where, objects }) =>
    objects.flatMap((object): Problem[] => {
      const template =
        kindOf(object) === 'serving.knative.dev/Service' ? object.spec.template : undefined
      const name = template?.metadata?.name
      if (name === undefined) return []
      const revisions = (object.spec.traffic ?? []).flatMap(
        ({ revisionName }: Manifest) => revisionName ?? [],
      )
      const problems: Problem[] = when(
        !revisions.includes(name),
        `spec.traffic does not name the revision ${name} it makes`,
      ).map(what => [where, what])
      const spec = JSON.stringify(template)
      const other = templates.get(name)
      if (other === undefined) templates.set(name, { where, spec })
      else if (other.spec !== spec)
        problems.push([
          where,
          `spec.template: the revision ${name} differs from that of ${other.where}`,
        ])
      return problems
    }),
  )
}

/** That func.yaml says what the Service of Knative says. */
function checkFunc(project: Project): Problem[] {
  const text = project.text('func.yaml')
  if (text === undefined) return []
  const [func] = parse(text, 'func.yaml')
  const service = knativeService(project)
  const problems: string[] = []
  const same = (what: string, here: unknown, there: unknown) => {
    if (String(here) !== String(there))
      problems.push(`${what} is ${here}; knative/base has ${there}`)
  }
  if (service !== undefined) {
    const { spec, metadata } = service.spec.template
    const [container] = spec.containers
    const { scale = {}, resources = {} } = func.deploy?.options ?? {}
    const annotation = (name: string) => metadata.annotations[`autoscaling.knative.dev/${name}`]
    same('name', func.name, service.metadata.name)
    same('deploy.options.scale.min', scale.min, annotation('min-scale'))
    same('deploy.options.scale.max', scale.max, annotation('max-scale'))
    same('deploy.options.scale.metric', scale.metric, annotation('metric'))
    same('deploy.options.scale.target', scale.target, annotation('target'))
    same(
      'deploy.options.scale.utilization',
      scale.utilization,
      annotation('target-utilization-percentage'),
    )
    same(
      'deploy.options.resources.limits.concurrency',
      resources.limits?.concurrency,
      spec.containerConcurrency,
    )
    for (const what of ['requests', 'limits']) {
      for (const which of ['cpu', 'memory'])
        same(
          `deploy.options.resources.${what}.${which}`,
          resources[what]?.[which],
          container.resources[what][which],
        )
    }
    same(
      'deploy.healthEndpoints.liveness',
      func.deploy?.healthEndpoints?.liveness,
      container.livenessProbe?.httpGet?.path,
    )
    same(
      'deploy.healthEndpoints.readiness',
      func.deploy?.healthEndpoints?.readiness,
      container.readinessProbe?.httpGet?.path,
    )
    same('run.envs', JSON.stringify(func.run?.envs ?? []), JSON.stringify(container.env ?? []))
  }
  problems.push(...checkEnvironment(func.run?.envs ?? [], 'run'))
  const { scripts, devDependencies } = packageJson(project)
  const buildEnvs = Object.fromEntries(
    (func.build?.buildEnvs ?? []).map(({ name, value }: Manifest) => [name, value]),
  )
  const [major] = devDependencies.node.split('.')
  const s2i = func.build?.builderImages?.s2i
  problems.push(
    ...when(
      !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/.test(func.created),
      `created is "${func.created}"; without a time func takes this for no function`,
    ),
    ...when(func.runtime !== 'typescript', `runtime is ${func.runtime}`),
    ...when(
      scripts[buildEnvs.BP_NODE_RUN_SCRIPTS] === undefined,
      `build.buildEnvs: package.json has no script ${buildEnvs.BP_NODE_RUN_SCRIPTS}`,
    ),
    ...when(
      buildEnvs.BP_NODE_VERSION !== `${major}.*`,
      `build.buildEnvs: BP_NODE_VERSION is ${buildEnvs.BP_NODE_VERSION}; package.json has Node ${major}`,
    ),
    ...when(
      buildEnvs.NODE_CMD !== scripts.start,
      `build.buildEnvs: NODE_CMD is "${buildEnvs.NODE_CMD}"; package.json starts "${scripts.start}"`,
    ),
    // Its run script goes by both (sclorg/s2i-nodejs-container: 24-minimal/s2i/bin/run).
    ...when(
      buildEnvs.INIT_WRAPPER !== 'false',
      'build.buildEnvs: NODE_CMD is heeded only where INIT_WRAPPER is false',
    ),
    ...when(
      !String(s2i).includes(`nodejs-${major}-`),
      `build.builderImages.s2i is ${s2i}; package.json has Node ${major}`,
    ),
    ...when(
      'NODE_ENV' in buildEnvs,
      'build.buildEnvs: with NODE_ENV no builder installs what the build needs',
    ),
  )
  const types = project.bundles.flatMap(({ objects }) =>
    objects.filter(({ kind }) => kind === 'Trigger').flatMap(typesOf),
  )
  for (const { source, filters } of func.deploy?.subscriptions ?? []) {
    const brokers = project.bundles.flatMap(({ objects }) =>
      objects.filter(({ kind }) => kind === 'Broker').map(({ metadata }) => metadata.name),
    )
    problems.push(
      ...when(
        !types.includes(filters?.type),
        `deploy.subscriptions: no Trigger is for ${filters?.type}`,
      ),
      ...when(!brokers.includes(source), `deploy.subscriptions: there is no Broker "${source}"`),
    )
  }
  const ignored = (project.text('.funcignore') ?? '')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
  for (const folder of [
    'function',
    'knative',
    'kserve',
    'models',
    'scripts',
    'package.json',
    'package-lock.json',
    '.npmrc',
  ]) {
    problems.push(
      ...when(ignored.includes(folder), `.funcignore leaves out ${folder}, which the build needs`),
    )
  }
  problems.push(
    ...['node_modules', '.git']
      .filter(folder => !ignored.includes(folder))
      .map(folder => `.funcignore does not leave out ${folder}`),
  )
  return problems.map(what => ['func.yaml', what])
}

/** That the image is made from all it needs, by the Node that is tested, and runs as a number. */
function checkImage(project: Project): Problem[] {
  const dockerfile = project.text('Dockerfile')
  if (dockerfile === undefined) return []
  const { devDependencies } = packageJson(project)
  const ignore = project.text('.dockerignore') ?? ''
  const [command] = [/^CMD \["([^"]+)"\]/m.exec(dockerfile)?.[1]]
  const sources = [
    ...(project.text('scripts/build.mjs') ?? '').matchAll(
      /'((?:function|knative|kserve)\/[\w/-]+\.ts)'/g,
    ),
  ].map(([, path]) => path as string)
  const folders = new Set(sources.map(path => path.split('/')[0] as string))
  return [
    ...when(
      !dockerfile.includes(`node:${devDependencies.node}-`),
      `the base is not Node ${devDependencies.node}, which is tested`,
    ),
    ...when(
      !new RegExp(`^EXPOSE ${PORT}$`, 'm').test(dockerfile),
      `EXPOSE is not ${PORT}, on which the function listens`,
    ),
    ...when(
      !/^USER \d+(:\d+)?$/m.test(dockerfile) || /^USER 0/m.test(dockerfile),
      'USER is no number other than 0, and runAsNonRoot needs one',
    ),
    ...when(
      !/^ENTRYPOINT \["node"(?:, "--[^"]+")*\]$/m.test(dockerfile),
      'ENTRYPOINT is not node, to which manifests give a program',
    ),
    ...when(
      command === undefined || PROGRAMS[command] === undefined,
      `CMD is ${command}, which scripts/build.mjs does not make`,
    ),
    ...[...folders].flatMap(folder =>
      when(
        /^\*$/m.test(ignore) && !new RegExp(`^!${folder}/?$`, 'm').test(ignore),
        `.dockerignore leaves out ${folder}, which scripts/build.mjs needs`,
      ),
    ),
  ].map(what => ['Dockerfile', what])
}

/** That compose runs what is deployed. */
function checkCompose(project: Project): Problem[] {
  const text = project.text('compose.yaml')
  if (text === undefined) return []
  const [compose] = parse(text, 'compose.yaml')
  const services = Object.entries<Manifest>(compose.services ?? {})
  const ours = services.filter(
    ([, { build, image }]) =>
      build !== undefined || withoutRegistry(String(image)) === withoutRegistry(imageOf(project)),
  )
  const passwords = services.flatMap(([name, { environment = {} }]) =>
    variablesOf(environment)
      .filter(
        ([variable, value]) =>
          /PASSWORD|SECRET|TOKEN/.test(variable) && !/^(\$\{.*\})?$/s.test(value),
      )
      .map(([variable]) => `${name}: ${variable} is written down`),
  )
  return [
    ...when(ours.length === 0, 'no service is the function'),
    ...passwords,
    ...services.flatMap(([name, { image }]) =>
      when(
        image !== undefined &&
          !/[:@]/.test(image.replace(/\$\{.*?\}/g, '')) &&
          !image.includes('${'),
        `${name}: ${image} has no tag`,
      ),
    ),
    ...ours.flatMap(([name, { environment = {}, ports = [], image }]) => {
      return [
        ...checkEnvironment(
          variablesOf(environment).map(([variable, value]) => ({
            name: variable,
            value: value.replace(/^\$\{[^:}]+(?::?-([^}]*))?\}$/, '$1'),
          })),
          name,
        ),
        ...when(
          !ports.every(
            (port: unknown) =>
              String(typeof port === 'object' ? (port as Manifest).target : port)
                .split(':')
                .at(-1) === String(PORT),
          ),
          `${name}: a port is not published from ${PORT}`,
        ),
        ...when(
          image !== undefined && withoutRegistry(image) !== withoutRegistry(imageOf(project)),
          `${name}: the image is ${image}`,
        ),
      ]
    }),
  ].map(what => ['compose.yaml', what])
}

/** A service's environment, which is a list of NAME=value or a map. */
const variablesOf = (environment: Manifest): [name: string, value: string][] =>
  Array.isArray(environment)
    ? environment.map((entry: string) => [
        entry.split('=')[0] as string,
        entry.slice(entry.indexOf('=') + 1),
      ])
    : Object.entries(environment).map(([name, value]) => [name, String(value)])
