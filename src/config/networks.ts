/** Lists of CIDR. May import the other files of config/ only. */
import { cidrProblem } from './address.ts';
import type { TableReader } from './table-reader.ts';

/** The entries that are right, among them those of `others`; a problem is noted for each of the rest. */
export function readNetworks(
  reader: TableReader,
  key: string,
  others: readonly string[] = [],
): string[] {
  return reader.strings(key, 'a CIDR or a list of them').flatMap(({ text, path }) => {
    const problem = others.includes(text) ? null : cidrProblem(text);
    if (problem !== null) {
      reader.context.problems.error(path, problem);
      return [];
    }
    return [text];
  });
}
