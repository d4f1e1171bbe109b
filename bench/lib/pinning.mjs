/** Which CPUs processes may run on, by taskset of util-linux: all of a measurement on one core, or wherever the kernel likes. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Where processes are put: `core` null = nowhere in particular. */
export class Place {
  /** @param {number | null} core */
  constructor(core) {
    this.core = core;
  }

  get isPinned() {
    return this.core !== null;
  }

  /** A command line that starts there. @param {string} command @param {readonly string[]} args @returns {[string, string[]]} */
  command(command, args) {
    return this.core === null
      ? [command, [...args]]
      : ['taskset', ['-c', String(this.core), command, ...args]];
  }

  /** Moves running processes there, with all their threads; those that have ended meanwhile don't matter. @param {readonly number[]} pids */
  move(pids) {
    const cores = this.core === null ? `0-${lastCore()}` : String(this.core);
    for (const pid of pids) {
      try {
        execFileSync('taskset', ['-a', '-c', '-p', cores, String(pid)], { stdio: 'ignore' });
      } catch (error) {
        if (isAlive(pid)) {
          throw error;
        }
      }
    }
  }
}

/** Whether taskset is there and works. */
export function canPin() {
  try {
    execFileSync('taskset', ['-c', String(lastCore()), 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The highest CPU: interrupts and the kernel's own threads prefer the lowest. */
export function lastCore() {
  const online = readFileSync('/sys/devices/system/cpu/online', 'utf8').trim();
  return Number(/(\d+)$/.exec(online)?.[1] ?? 0);
}

/** A process and all its descendants. @param {number} root @returns {number[]} */
export function familyOf(root) {
  /** @type {Map<number, number[]>} */
  const children = new Map();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const parent = parentOf(Number(name));
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const family = [root];
  for (const pid of family) {
    family.push(...(children.get(pid) ?? []));
  }
  return family;
}

/** @param {number} pid */
function parentOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
