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
/** Calls that change nothing. */
const LOOKS =
  /^(kubectl (--context \S+ )?(version|get|auth can-i|wait|rollout status|port-forward|logs|kustomize) |helm (version|.* list )|kind (--version|get )|docker version|curl |sleep )/
/** Calls that change the nodes' images, and nothing where they are the same. */
const IMAGE = /^(docker build|kind load docker-image) /

const indexOf = (calls: readonly string[], part: string) => {
  const index = calls.findIndex(call => call.includes(part))
  assert.notEqual(index, -1, `nothing called had ${part}`)
  return index
}
/** Without what differs from run to run. */
const steady = (line: string) =>
  line
    .replaceAll("'", '')
    .replace(/\/\S*\/(password|answer|classifier\.yaml)/, '/$1')
    .replace(/setup-\d+/, 'setup-ID')
    .replace(/127\.0\.0\.1:(34567|PORT)/, '127.0.0.1:PORT')
    .replace(/Host: \S+/, 'Host: HOST')
    .replace(/ &$/, '')

describe('setup-cluster.sh', () => {
  test('from nothing to a classifier that answers: everything is installed, recorded, asked, and told how to ask again and to remove', t => {
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
    test(`a dry run runs nothing, and shows every command of a real run, in order: ${args.join(' ') || 'in kind'}`, t => {
      const real = startCluster(t)
      // In a dry run nobody can tell whether the nodes are kind's.
      if (args.length > 0) real.environment.PROVIDER = 'aws:///eu/node'
      const { calls } = real.setUp(...args)
      const dry = startCluster(t)
      const { code, out, calls: called } = dry.setUp(...args, '--dry-run')
      assert.equal(code, 0)
      assert.deepEqual(called, [])
      assert.deepEqual(dry.objects(), [])
      const shown = out
        .slice(0, out.indexOf('== It would end with'))
        .split('\n')
        .filter(line => /^(kubectl|helm|kind|docker|curl) /.test(line))
        .map(line => steady(line.replace(/ \| sed .*/, '')))
      const made = calls.filter(call => !call.startsWith('sleep')).map(steady)
      assert.equal(shown.join('\n'), made.join('\n'))
    })
  }

  test('a component is installed after those it needs', t => {
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

  test('a second run changes nothing, and asks again', t => {
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
    test(`killed at ${place} and started again, it ends as if it had not been, and does no step again that was done`, t => {
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

  test('Helm refuses to continue an interrupted release: a pending one is removed first', t => {
    const cluster = startCluster(t)
    cluster.write('pending', '[{"name":"kserve-crd","status":"pending-install"}]')
    const { calls } = cluster.setUp()
    assert.ok(
      indexOf(calls, 'uninstall kserve-crd') < indexOf(calls, 'upgrade --install kserve-crd'),
    )
  })

  test('a webhook that does not answer yet is asked again', t => {
    const cluster = startCluster(t)
    cluster.refuse(4, '*patch configmap config-network*')
    const { code, out } = cluster.setUp()
    assert.equal(code, 0)
    assert.match(out, /not yet; again in 10 s \(4 of 5\)/)
  })

  test('components that it did not install stay as they are', t => {
    const cluster = startCluster(t)
    cluster.write('objects/crd|scaledobjects.keda.sh', '')
    cluster.write('objects/namespace|monitoring', '')
    const { code, out, calls } = cluster.setUp('--context', 'other')
    assert.equal(code, 0)
    assert.equal(out.match(/not by this script: left as it is/g)?.length, 2)
    assert.ok(!calls.some(call => /keda-|apply .*monitoring|config-observability/.test(call)))
    assert.ok(!('keda' in cluster.record()) && !('monitoring' in cluster.record()))
  })

  test('only kubelets of kind are believed without a certificate', t => {
    const cluster = startCluster(t)
    cluster.environment.PROVIDER = 'aws:///eu/node'
    assert.ok(!cluster.setUp('--context', 'other').calls.some(call => call.includes('insecure')))
    assert.ok(
      startCluster(t)
        .setUp('--context', 'other')
        .calls.some(call => call.includes('insecure')),
    )
  })

  test('a new version in the file is installed over the one before', t => {
    const cluster = startCluster(t)
    cluster.setUp()
    cluster.write('record/keda', '2.19.0\n')
    const { calls } = cluster.setUp()
    assert.equal(calls.filter(call => call.includes(' apply ')).length, 1)
    assert.deepEqual(cluster.record(), INSTALLED)
  })

  test('the cluster of kind that was made before is used', t => {
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

  describe('explains what failed, what to look at and what would be right', () => {
    test('a component that is not ready in time: TIMED_OUT, with the pods and events of its namespace', t => {
      const cluster = startCluster(t)
      cluster.refuse(1, '*wait deployment --all --namespace kserve *')
      const { code, err, calls } = cluster.setUp()
      assert.equal(code, 6)
      assert.match(
        err,
        /KServe in Knative mode: not ready in time in the namespace kserve\n {2}right would be: every pod Running/,
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
        says: /KEDA: this failed 5 times.*kubectl .*keda-.*\n {2}right would be/,
        prepare: cluster => cluster.refuse(5, '*keda-*'),
      },
      {
        when: 'a tool is missing',
        code: 3,
        says: /helm is needed, 3\.13 or later.*\n {2}get it: https/,
        prepare: cluster => cluster.without('helm'),
      },
      {
        when: 'a tool is too old',
        code: 3,
        says: /kind is 0\.20\.0; 0\.30 or later is needed/,
        prepare: ({ environment }) => {
          environment.KIND = '0.20.0'
        },
      },
      {
        when: 'Docker’s daemon does not answer',
        code: 3,
        says: /docker is there, and does not work/,
        prepare: cluster => cluster.refuse(1, 'docker version*'),
      },
      {
        when: 'kind cannot make a cluster',
        code: 5,
        says: /kind could not make/,
        prepare: cluster => cluster.refuse(1, 'kind create*'),
      },
      {
        when: 'the cluster does not answer',
        code: 4,
        args: ['--context', 'other'],
        says: /"other" does not answer\n {2}right would be/,
        prepare: cluster => cluster.refuse(1, '*/version*'),
      },
      {
        when: 'the cluster is too old',
        code: 4,
        says: /is Kubernetes 1\.32; .* needs 1\.34/,
        prepare: ({ environment }) => {
          environment.MINOR = '32'
        },
      },
      {
        when: 'the user may not do everything',
        code: 4,
        says: /may not do everything.*\n {2}right would be: cluster-admin/,
        prepare: ({ environment }) => {
          environment.ALLOWED = 'no'
        },
      },
      {
        when: 'the route answers something else',
        code: 7,
        says: /did not say that this iris is setosa/,
        prepare: ({ environment }) => {
          environment.ANSWER = '{"error":"no"}'
        },
      },
      {
        when: 'the Broker refuses an event',
        code: 7,
        says: /answered 400 to an event; right would be 202/,
        prepare: ({ environment }) => {
          environment.BROKER_STATUS = '400'
        },
      },
      {
        when: 'no reply comes',
        code: 7,
        says: /its reply did not come to iris-replies\n {2}lost events, with reasons: .*iris-dead-letter/,
        prepare: ({ environment }) => {
          environment.SILENT = 'yes'
        },
      },
      {
        when: 'an option is unknown',
        code: 2,
        args: ['--all'],
        says: /--all is no option\n {2}.*--help/,
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
        says: /--name is of a cluster of kind/,
        prepare: () => {},
      },
      {
        when: 'an image is named for kind',
        code: 2,
        args: ['--image', 'a'],
        says: /--image is for --context/,
        prepare: () => {},
      },
    ]
    for (const { when, code, says, args = [], prepare } of cases) {
      test(`where ${when}`, t => {
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
  test('removes from a cluster what was installed, last first, and its record', t => {
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

  test('a second time removes nothing', t => {
    const cluster = startCluster(t)
    cluster.setUp('--context', 'other')
    cluster.remove('--context', 'other', '--yes')
    cluster.write('objects/namespace|onnx-function-setup', '')
    cluster.remove('--context', 'other', '--yes')
    const { code, out, calls } = cluster.remove('--context', 'other', '--yes')
    assert.equal(code, 0)
    assert.match(out, /; nothing to remove/)
    assert.deepEqual(
      calls.filter(call => !LOOKS.test(call)),
      [],
    )
  })

  test('objects from before stay', t => {
    const cluster = startCluster(t)
    cluster.write('objects/crd|certificates.cert-manager.io', '')
    cluster.setUp('--context', 'other')
    const { calls } = cluster.remove('--context', 'other', '--yes')
    assert.ok(!calls.some(call => call.includes('cert-manager.yaml')))
    assert.ok(cluster.objects().includes('crd|certificates.cert-manager.io'))
  })

  test('a component that others use stays, and what it needs; the rest is removed the next time', t => {
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
      /Knative Serving with Kourier stays.*\n {2}Service {3}shop {3}basket\n {2}right would be/,
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
    test(`killed at ${place} and started again, nothing is left`, t => {
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

  test('deletes the cluster of kind, and does nothing where it is gone', t => {
    const cluster = startCluster(t)
    cluster.setUp()
    const { code, calls } = cluster.remove('--yes')
    assert.equal(code, 0)
    assert.ok(calls.includes('kind delete cluster --name onnx-function'))
    const again = cluster.remove('--yes')
    assert.equal(again.code, 0)
    assert.match(again.out, /kind has no cluster onnx-function; nothing to remove/)
  })

  test('asks first; where nobody is there to answer, it removes nothing', t => {
    const cluster = startCluster(t)
    cluster.setUp()
    const { code, err, calls } = cluster.remove()
    assert.equal(code, 2)
    assert.match(err, /nobody is there to answer; --yes answers/)
    assert.ok(!calls.some(call => call.includes('delete')))
  })

  for (const args of [[], ['--context', 'other']]) {
    test(`a dry run runs nothing, and shows what would be removed: ${args.join(' ') || 'in kind'}`, t => {
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
