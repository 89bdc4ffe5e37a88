import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import manifest from '../../package.json' with { type: 'json' }
import { startCluster, versions } from './cluster.ts'

const INSTALLED = {
  cert_manager: versions.CERT_MANAGER,
  serving: `${versions.SERVING},${versions.KOURIER}`,
  eventing: versions.EVENTING,
  kserve: versions.KSERVE,
  monitoring: `${versions.PROMETHEUS},${versions.GRAFANA},${versions.KUBE_STATE_METRICS}`,
  keda: versions.KEDA,
  metrics_server: versions.METRICS_SERVER,
  classifier: manifest.version,
}
const LOOKS =
  /^(kubectl (--context \S+ )?(version|get|auth can-i|wait|rollout status|port-forward|logs|kustomize) |helm (version|.* list )|kind (--version|get )|docker version|curl |sleep )/
/** A second run repeats these commands: they change nothing if the nodes already have the image. */
const IMAGE = /^(docker build|kind load docker-image) /

const indexOf = (calls: readonly string[], part: string) => {
  const index = calls.findIndex(call => call.includes(part))
  assert.notEqual(index, -1, `no call contains ${part}`)
  return index
}
const steady = (line: string) =>
  line
    .replaceAll("'", '')
    .replace(/\/\S*\/(password|answer|classifier\.yaml)/, '/$1')
    .replace(/setup-\d+/, 'setup-ID')
    .replace(/127\.0\.0\.1:(34567|PORT)/, '127.0.0.1:PORT')
    .replace(/Host: \S+/, 'Host: HOST')
    .replace(/ &$/, '')

describe('setup-cluster.sh', () => {
  test('installs and records every component, tests the classifier, and prints the next commands', t => {
    const cluster = startCluster(t)
    const { code, out, err } = cluster.setUp()
    assert.equal(code, 0, err)
    assert.deepEqual(cluster.record(), INSTALLED)
    assert.match(out, /"setosa"/)
    assert.match(out, /"subject":"setup-\d+"/)
    assert.match(out, /-H 'Host: iris-classifier\.default\.127\.0\.0\.1\.sslip\.io'/)
    assert.match(out, /grafana 3000/)
    assert.match(out, /scripts\/delete-cluster\.sh --name onnx-function\n$/)
  })

  for (const args of [
    [],
    ['--context', 'other'],
    ['--context', 'other', '--image', 'registry.example.com/iris@sha256:0'],
  ]) {
    test(`a dry run executes no command, and prints every command of a real run in order: ${args.join(' ') || 'in kind'}`, t => {
      const real = startCluster(t)
      // A dry run cannot find out whether the nodes belong to kind, and assumes that they do not.
      if (args.length > 0) real.environment.PROVIDER = 'aws:///eu/node'
      const { calls } = real.setUp(...args)
      const dry = startCluster(t)
      const { code, out, calls: called } = dry.setUp(...args, '--dry-run')
      assert.equal(code, 0)
      assert.deepEqual(called, [])
      assert.deepEqual(dry.objects(), [])
      const shown = out
        .slice(0, out.indexOf('== The script would then print'))
        .split('\n')
        .filter(line => /^(kubectl|helm|kind|docker|curl) /.test(line))
        .map(line => steady(line.replace(/ \| sed .*/, '')))
      const made = calls.filter(call => !call.startsWith('sleep')).map(steady)
      assert.equal(shown.join('\n'), made.join('\n'))
    })
  }

  test('installs a component after the components that it needs', t => {
    const { calls } = startCluster(t).setUp()
    const order = [
      'kind create cluster',
      'docker build',
      'kind load docker-image',
      'cert-manager.yaml',
      'serving-crds.yaml',
      'crd/services.serving.knative.dev',
      'serving-core.yaml',
      'kourier.yaml',
      'wait deployment --all --namespace knative-serving',
      'patch configmap config-network',
      'eventing-crds.yaml',
      'eventing-core.yaml',
      'in-memory-channel.yaml',
      'mt-channel-broker.yaml',
      'upgrade --install kserve-crd',
      'upgrade --install kserve-resources',
      '--kustomize monitoring',
      'patch configmap config-observability',
      'rollout restart deployment --namespace knative-serving',
      '--kustomize knative/overlays/local',
      '/infer --header',
      'ce-type: com.example.iris.classify.request',
    ]
    const places = order.map(part => indexOf(calls, part))
    assert.deepEqual(
      places,
      [...places].sort((a, b) => a - b),
    )
  })

  test('a second run changes nothing, and tests the classifier again', t => {
    const cluster = startCluster(t)
    cluster.setUp()
    const [record, objects] = [cluster.record(), cluster.objects()]
    const { code, calls } = cluster.setUp()
    assert.equal(code, 0)
    assert.deepEqual(
      calls.filter(call => !LOOKS.test(call) && !IMAGE.test(call)),
      [],
    )
    assert.ok(calls.some(call => call.includes('ce-type:')))
    assert.deepEqual([cluster.record(), cluster.objects()], [record, objects])
  })

  for (const place of [
    '*create configmap*',
    '*/cert-manager.yaml',
    '*/serving-core.yaml',
    '*patch configmap config-domain*',
    '*/mt-channel-broker.yaml',
    '*--install kserve-resources*',
    '*--kustomize monitoring',
    '*create secret*',
    '*keda-*',
    '*--kubelet-insecure-tls*',
    '*--kustomize knative/overlays/local',
    '*"classifier":"*.?"}}',
    '*curl*ce-type*',
  ]) {
    test(`after being killed at ${place}, a second run completes the installation and repeats no completed step`, t => {
      const cluster = startCluster(t)
      cluster.killAt(place)
      const first = cluster.setUp()
      assert.notEqual(first.code, 0)
      const done = Object.entries(cluster.record()).filter(
        ([, version]) => !version.endsWith(' begun'),
      )
      const second = cluster.setUp()
      assert.equal(second.code, 0, second.err)
      assert.deepEqual(cluster.record(), INSTALLED)
      for (const [component] of done)
        assert.ok(!second.calls.some(call => call.includes(`"${component}":`)), component)
    })
  }

  test('removes a pending Helm release first, because Helm refuses to continue it', t => {
    const cluster = startCluster(t)
    cluster.write('pending', '[{"name":"kserve-crd","status":"pending-install"}]')
    const { calls } = cluster.setUp()
    assert.ok(
      indexOf(calls, 'uninstall kserve-crd') < indexOf(calls, 'upgrade --install kserve-crd'),
    )
  })

  test('repeats a command while a webhook does not respond yet', t => {
    const cluster = startCluster(t)
    cluster.refuse(4, '*patch configmap config-network*')
    const { code, out } = cluster.setUp()
    assert.equal(code, 0)
    assert.match(out, /attempt 4 of 5 failed; trying again in 10 s/)
  })

  test('does not change components that it did not install', t => {
    const cluster = startCluster(t)
    cluster.write('objects/crd|scaledobjects.keda.sh', '')
    cluster.write('objects/namespace|monitoring', '')
    const { code, out, calls } = cluster.setUp('--context', 'other')
    assert.equal(code, 0)
    assert.equal(out.match(/not by this script: not changed/g)?.length, 2)
    assert.ok(!calls.some(call => /keda-|apply .*monitoring|config-observability/.test(call)))
    assert.ok(!('keda' in cluster.record()) && !('monitoring' in cluster.record()))
  })

  test('skips the check of kubelet certificates only in kind', t => {
    const cluster = startCluster(t)
    cluster.environment.PROVIDER = 'aws:///eu/node'
    assert.ok(!cluster.setUp('--context', 'other').calls.some(call => call.includes('insecure')))
    assert.ok(
      startCluster(t)
        .setUp('--context', 'other')
        .calls.some(call => call.includes('insecure')),
    )
  })

  test('replaces the recorded version of a component with a new version', t => {
    const cluster = startCluster(t)
    cluster.setUp()
    cluster.write('record/keda', '2.19.0\n')
    const { calls } = cluster.setUp()
    assert.equal(calls.filter(call => call.includes(' apply ')).length, 1)
    assert.deepEqual(cluster.record(), INSTALLED)
  })

  test('uses an existing kind cluster with the same name', t => {
    const cluster = startCluster(t)
    cluster.write('objects/cluster|mine', '')
    const { calls } = cluster.setUp('--name', 'mine')
    assert.ok(!calls.some(call => call.startsWith('kind create')))
    assert.ok(
      calls.includes(
        `kind load docker-image dev.local/onnx-function:${manifest.version} --name mine`,
      ),
    )
  })

  describe('reports the failure, the expected state and the next command', () => {
    test('when a component is not ready in time: TIMED_OUT, with the pods and events in its namespace', t => {
      const cluster = startCluster(t)
      cluster.refuse(1, '*wait deployment --all --namespace kserve *')
      const { code, err, calls } = cluster.setUp()
      assert.equal(code, 6)
      assert.match(
        err,
        /KServe in Knative mode: the namespace kserve was not ready in time\n {2}expected: every pod is Running/,
      )
      assert.match(err, /describe pods --namespace kserve/)
      assert.match(err, /TIMED_OUT \(exit code 6\)\n$/)
      assert.ok(calls.some(call => call.includes('get events --namespace kserve')))
      assert.equal(cluster.record().kserve, `${versions.KSERVE} begun`)
    })

    const cases: {
      when: string
      code: number
      says: RegExp
      args?: string[]
      prepare: (cluster: ReturnType<typeof startCluster>) => void
    }[] = [
      {
        when: 'a manifest is refused five times',
        code: 5,
        says: /KEDA: this command failed 5 times.*kubectl .*keda-.*\n {2}expected/,
        prepare: cluster => cluster.refuse(5, '*keda-*'),
      },
      {
        when: 'a tool is missing',
        code: 3,
        says: /helm is not on the PATH; 3\.13 or later is needed\n {2}get it: https/,
        prepare: cluster => cluster.without('helm'),
      },
      {
        when: 'a tool is too old',
        code: 3,
        says: /kind 0\.20\.0 is too old; 0\.30 or later is needed/,
        prepare: ({ environment }) => {
          environment.KIND = '0.20.0'
        },
      },
      {
        when: 'Docker’s daemon does not respond',
        code: 3,
        says: /docker is installed but does not work/,
        prepare: cluster => cluster.refuse(1, 'docker version*'),
      },
      {
        when: 'kind cannot create a cluster',
        code: 5,
        says: /kind could not create the cluster onnx-function/,
        prepare: cluster => cluster.refuse(1, 'kind create*'),
      },
      {
        when: 'the cluster does not respond',
        code: 4,
        args: ['--context', 'other'],
        says: /"other" does not respond\n {2}expected/,
        prepare: cluster => cluster.refuse(1, '*/version*'),
      },
      {
        when: 'the cluster is too old',
        code: 4,
        says: /runs Kubernetes 1\.32; .* needs 1\.34/,
        prepare: ({ environment }) => {
          environment.MINOR = '32'
        },
      },
      {
        when: 'the user does not have all permissions',
        code: 4,
        says: /does not have all permissions.*\n {2}expected: the role cluster-admin/,
        prepare: ({ environment }) => {
          environment.ALLOWED = 'no'
        },
      },
      {
        when: 'the route returns an unexpected response',
        code: 7,
        says: /does not contain the class setosa/,
        prepare: ({ environment }) => {
          environment.ANSWER = '{"error":"no"}'
        },
      },
      {
        when: 'the Broker refuses an event',
        code: 7,
        says: /returned status 400 for an event; expected 202/,
        prepare: ({ environment }) => {
          environment.BROKER_STATUS = '400'
        },
      },
      {
        when: 'no reply arrives',
        code: 7,
        says: /no reply arrived at iris-replies\n {2}lost events, with reasons: .*iris-dead-letter/,
        prepare: ({ environment }) => {
          environment.SILENT = 'yes'
        },
      },
      {
        when: 'an option is unknown',
        code: 2,
        args: ['--all'],
        says: /unknown option: --all\n {2}.*--help/,
        prepare: () => {},
      },
      {
        when: 'an option has no value',
        code: 2,
        args: ['--context'],
        says: /--context needs a value/,
        prepare: () => {},
      },
      {
        when: 'options exclude each other',
        code: 2,
        args: ['--context', 'a', '--name', 'b'],
        says: /--name and --context exclude each other/,
        prepare: () => {},
      },
      {
        when: 'an image is given without a context',
        code: 2,
        args: ['--image', 'a'],
        says: /--image needs --context/,
        prepare: () => {},
      },
    ]
    for (const { when, code, says, args = [], prepare } of cases) {
      test(`when ${when}`, t => {
        const cluster = startCluster(t)
        prepare(cluster)
        const outcome = cluster.setUp(...args)
        assert.equal(outcome.code, code, outcome.err)
        assert.match(outcome.err, says)
        assert.match(outcome.err, new RegExp(`^[A-Z_]+ \\(exit code ${code}\\)$`, 'm'))
      })
    }
  })
})

describe('delete-cluster.sh', () => {
  test('removes the installed components in reverse order, and then the record', t => {
    const cluster = startCluster(t)
    cluster.setUp('--context', 'other')
    const { code, err, calls } = cluster.remove('--context', 'other', '--yes')
    assert.equal(code, 0, err)
    const removed = calls
      .filter(call => / (delete|uninstall) /.test(call))
      .map(call => call.replace(/.*(?:\/|--kustomize |uninstall |namespace )/, ''))
    assert.deepEqual(removed, [
      'local',
      'components.yaml',
      `keda-${versions.KEDA}.yaml`,
      'monitoring',
      'kserve --ignore-not-found --wait',
      'kserve --ignore-not-found --wait',
      'kserve',
      'mt-channel-broker.yaml',
      'in-memory-channel.yaml',
      'eventing-core.yaml',
      'eventing-crds.yaml',
      'kourier.yaml',
      'serving-core.yaml',
      'serving-crds.yaml',
      'cert-manager.yaml',
      'onnx-function-setup',
    ])
    assert.deepEqual(cluster.record(), {})
  })

  test('removes nothing when it runs a second time', t => {
    const cluster = startCluster(t)
    cluster.setUp('--context', 'other')
    cluster.remove('--context', 'other', '--yes')
    cluster.write('objects/namespace|onnx-function-setup', '')
    cluster.remove('--context', 'other', '--yes')
    const { code, out, calls } = cluster.remove('--context', 'other', '--yes')
    assert.equal(code, 0)
    assert.match(out, /: nothing to remove/)
    assert.deepEqual(
      calls.filter(call => !LOOKS.test(call)),
      [],
    )
  })

  test('keeps components that existed before the installation', t => {
    const cluster = startCluster(t)
    cluster.write('objects/crd|certificates.cert-manager.io', '')
    cluster.setUp('--context', 'other')
    const { calls } = cluster.remove('--context', 'other', '--yes')
    assert.ok(!calls.some(call => call.includes('cert-manager.yaml')))
    assert.ok(cluster.objects().includes('crd|certificates.cert-manager.io'))
  })

  test('keeps a component that other objects use, and the components that it needs, until those objects are deleted', t => {
    const cluster = startCluster(t)
    cluster.setUp('--context', 'other')
    cluster.write(
      'others',
      'services.serving.knative.dev\nService        Route     default   owned\n<none>    Service   shop   basket\n',
    )
    const { code, err } = cluster.remove('--context', 'other', '--yes')
    assert.equal(code, 5)
    assert.match(
      err,
      /Knative Serving with Kourier was kept.*\n {2}Service {3}shop {3}basket\n {2}Delete these objects/,
    )
    assert.doesNotMatch(err, /owned/)
    assert.deepEqual(Object.keys(cluster.record()), ['cert_manager', 'serving'])
    cluster.write('others', '')
    assert.equal(cluster.remove('--context', 'other', '--yes').code, 0)
    assert.deepEqual(cluster.record(), {})
  })

  for (const place of [
    '*delete*components.yaml',
    '*uninstall kserve-crd*',
    '*delete*serving-core.yaml',
    '*"keda":null*',
  ]) {
    test(`after being killed at ${place}, a second run removes everything`, t => {
      const cluster = startCluster(t)
      cluster.setUp('--context', 'other')
      cluster.killAt(place)
      assert.notEqual(cluster.remove('--context', 'other', '--yes').code, 0)
      assert.equal(cluster.remove('--context', 'other', '--yes').code, 0)
      assert.deepEqual(cluster.record(), {})
      assert.deepEqual(
        cluster.objects().filter(name => !/^(configmap|secret)/.test(name)),
        [],
      )
    })
  }

  test('deletes the kind cluster, and does nothing if the cluster does not exist', t => {
    const cluster = startCluster(t)
    cluster.setUp()
    const { code, calls } = cluster.remove('--yes')
    assert.equal(code, 0)
    assert.ok(calls.includes('kind delete cluster --name onnx-function'))
    const again = cluster.remove('--yes')
    assert.equal(again.code, 0)
    assert.match(again.out, /kind has no cluster onnx-function: nothing to remove/)
  })

  test('asks for confirmation, and removes nothing if standard input is closed', t => {
    const cluster = startCluster(t)
    cluster.setUp()
    const { code, err, calls } = cluster.remove()
    assert.equal(code, 2)
    assert.match(err, /cannot ask for confirmation, because standard input is closed; use --yes/)
    assert.ok(!calls.some(call => call.includes('delete')))
  })

  for (const args of [[], ['--context', 'other']]) {
    test(`a dry run executes no command, and prints the commands that remove the components: ${args.join(' ') || 'in kind'}`, t => {
      const cluster = startCluster(t)
      const { code, out, calls } = cluster.remove(...args, '--dry-run')
      assert.equal(code, 0)
      assert.deepEqual(calls, [])
      assert.match(
        out,
        args.length === 0
          ? /^kind delete cluster --name onnx-function$/m
          : /^kubectl --context other delete .*cert-manager\.yaml$/m,
      )
    })
  }
})
