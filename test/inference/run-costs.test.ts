import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { RunCosts } from '../../function/inference/run-costs.ts'

suite('slow models', () => {
  test('a model counts as slow after one run of more than 5 ms that is not the first run', () => {
    const costs = new RunCosts(undefined)
    assert.equal(costs.showsSlow(4, 19), false)
    assert.equal(costs.showsSlow(8, 5.1), true)
  })

  test('a model counts as slow after a first run of more than 20 ms', () => {
    assert.equal(new RunCosts(undefined).showsSlow(4, 20.1), true)
  })

  test('a model counts as slow after two consecutive slow runs of a size that was fast before', () => {
    const costs = new RunCosts(undefined)
    for (const ms of [1, 1, 1]) costs.showsSlow(4, ms)
    assert.equal(costs.showsSlow(4, 50), false)
    assert.equal(costs.showsSlow(4, 1), false)
    assert.equal(costs.showsSlow(4, 50), false)
    assert.equal(costs.showsSlow(4, 50), true)
  })
})

suite('runs of unknown cost', () => {
  test('the cost of a run with more elements than all previous runs is unknown', () => {
    const costs = new RunCosts(undefined)
    costs.showsSlow(4, 1)
    assert.deepEqual(
      [4, 5].map(elements => costs.isUnknown(elements)),
      [false, true],
    )
    costs.showsSlow(100, 1)
    assert.equal(costs.isUnknown(100), false)
  })

  test('the cost of a run of plain operators is unknown only if the run may exceed 5 ms', () => {
    const costs = new RunCosts(1_000)
    costs.showsSlow(4, 1)
    assert.deepEqual(
      [20_000, 20_001].map(elements => costs.isUnknown(elements)),
      [false, true],
    )
  })
})
