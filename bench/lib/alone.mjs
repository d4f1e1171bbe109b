/**
 * Memory of a process as if it ran alone: its PSS, but for the code that it shares with the other processes of the run. These are Node.js
 * too, and would make Node's contestants look smaller by half of Node; a mapping of that counts as a whole.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { ROOT } from '../../scripts/lib/paths.mjs';

/** Its memory now, in KiB. @param {number} pid @returns {{ total: number }} */
export function memoryAlone(pid) {
  const own = [realpathSync(process.execPath), `${realpathSync(ROOT)}/`];
  return { total: kibibytesAlone(readFileSync(`/proc/${pid}/smaps`, 'utf8'), own) };
}

/** Sums up a text of smaps: resident size of mappings whose file begins with one of `own`, PSS of all others. @param {string} smaps @param {readonly string[]} own */
export function kibibytesAlone(smaps, own) {
  let total = 0;
  let counted = 'Pss';
  for (const line of smaps.split('\n')) {
    const mapping = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$/.exec(line);
    if (mapping !== null) {
      const [, file = ''] = mapping;
      counted = own.some((prefix) => file.startsWith(prefix)) ? 'Rss' : 'Pss';
      continue;
    }
    const [, kind, kibibytes] = /^(Rss|Pss): +(\d+) kB$/.exec(line) ?? [];
    total += kind === counted ? Number(kibibytes) : 0;
  }
  return total;
}
