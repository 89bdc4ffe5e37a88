import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { availableCpus } from '../../function/config/cpu-quota.ts'
import { projectFolder } from '../server.ts'

const cores = availableParallelism()

suite('availableCpus', () => {
  const LAYOUTS: readonly { name: string; files: Record<string, string>; cpus: number }[] = [
    {
      name: 'returns the number of CPUs of the machine if there is no cgroup',
      files: {},
      cpus: cores,
    },
    {
      name: 'returns the quota of cgroups version 2 in a container',
      files: { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '100000 100000\n' },
      cpus: 1,
    },
    {
      name: 'returns the number of all CPUs if the quota of cgroups version 2 is max',
      files: { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': 'max 100000\n' },
      cpus: cores,
    },
    {
      name: 'returns at least one CPU, however small the quota is',
      files: { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '10000 100000\n' },
      cpus: 1,
    },
    {
      name: 'rounds a quota of 1.5 CPUs down to one',
      files: { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '150000 100000\n' },
      cpus: 1,
    },
    {
      name: 'returns the smallest quota in a folder and its parents',
      files: {
        'proc/self/cgroup': '0::/pods/ours\n',
        'sys/fs/cgroup/pods/cpu.max': '100000 100000\n',
        'sys/fs/cgroup/pods/ours/cpu.max': 'max 100000\n',
      },
      cpus: 1,
    },
    {
      name: 'returns the quota of cgroups version 1 if the controller is mounted with another controller',
      files: {
        'proc/self/cgroup': '3:memory:/\n2:cpu,cpuacct:/pod\n',
        'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '100000\n',
        'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
      },
      cpus: 1,
    },
    {
      name: 'returns the number of all CPUs if the quota of cgroups version 1 is -1',
      files: {
        'proc/self/cgroup': '1:cpu:/\n',
        'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
        'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
      },
      cpus: cores,
    },
  ]
  for (const { name, files, cpus } of LAYOUTS) {
    test(name, t => {
      const root = mkdtempSync(join(tmpdir(), 'root-'))
      t.after(() => rmSync(root, { recursive: true }))
      for (const [path, content] of Object.entries(files)) {
        mkdirSync(dirname(join(root, path)), { recursive: true })
        writeFileSync(join(root, path), content)
      }
      assert.equal(availableCpus(root), cpus)
    })
  }

  const controller = '/sys/fs/cgroup/cpu'
  test('returns the quota that this kernel enforces', {
    skip: canWrite(controller) ? false : `${controller} (cgroup version 1) is not writable here`,
  }, t => {
    const group = join(controller, `cpu-quota-test-${process.pid}`)
    mkdirSync(group)
    t.after(() => rmdirSync(group))
    writeFileSync(join(group, 'cpu.cfs_quota_us'), '100000')
    const script = `echo $$ > ${group}/cgroup.procs && exec ${process.execPath} -p "require('./function/config/cpu-quota.ts').availableCpus()"`
    assert.equal(
      execFileSync('sh', ['-c', script], { cwd: projectFolder, encoding: 'utf8' }).trim(),
      '1',
    )
  })
})

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
