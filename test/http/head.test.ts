import assert from 'node:assert/strict'
import { test } from 'node:test'
import { originForm } from '../../function/http/head.ts'

const TARGETS: readonly [target: string, path: string][] = [
  ['/v2?a=b', '/v2?a=b'],
  ['*', '*'],
  ['', ''],
  ['http://example.com/v2?a=b', '/v2?a=b'],
  ['HTTPS://user@[::1]:80/v2', '/v2'],
  ['http://example.com', '/'],
  ['http://example.com?a', '/?a'],
  ['http://example.com/v2#a', '/v2'],
  ['http:///v2', 'http:///v2'],
  ['urn:a', 'urn:a'],
  ['v2', 'v2'],
]

for (const [target, path] of TARGETS)
  test(`converts the request target "${target}" to "${path}"`, () =>
    assert.equal(originForm(target), path))

test('accepts a request target with a very long host', () =>
  assert.equal(originForm(`http://${'漢'.repeat(5_200)}/v2`), '/v2'))
