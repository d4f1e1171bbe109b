/** What a run was measured on: figures without it mean nothing. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { ROOT } from '../../scripts/lib/paths.mjs';

/** Date, CPU, kernel and versions. */
export function describeMachine() {
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    governor: governor(),
    node: process.version,
    openssl: process.versions.openssl,
    pgtls: versionOfPgtls(),
    commit: firstLine('git', ['-C', ROOT, 'describe', '--always', '--dirty']),
    loadBefore: loadavg(),
  };
}

/** The first line that a program writes; null when it isn't there. @param {string} program @param {readonly string[]} args @returns {string | null} */
export function firstLine(program, args) {
  try {
    const text = execFileSync(program, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return text.split('\n')[0] ?? '';
  } catch {
    return null;
  }
}

/** A warning when somebody else uses the machine; null when nobody does. @param {number} load @param {number} count */
export function loadWarning(load, count) {
  return load > 0.25 * count
    ? `The machine was busy before it began (load ${load.toFixed(1)} on ${count} CPUs): don't quote these figures.`
    : null;
}

function versionOfPgtls() {
  return JSON.parse(readFileSync(`${ROOT}/package.json`, 'utf8')).version;
}

function governor() {
  try {
    return readFileSync('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor', 'utf8').trim();
  } catch {
    return null;
  }
}
