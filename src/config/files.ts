/**
 * The files a configuration names: that they exist and can be read, and that private keys are private.
 *
 * What is in them is checked by the addon's `inspect`: no key ever lies in the JavaScript heap. May import the other
 * files of config/ only.
 */
import { accessSync, constants, type Stats, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Located, TableReader } from './table-reader.ts';

/** Whether a file is public, or a secret with a private key's rights: a private key, keys of session tickets, a password. */
export type FileKind =
  | 'certificate'
  | 'private-key'
  | 'ticket-key'
  | 'password file'
  | 'token file';

const GROUP_OR_WORLD = 0o077;
/** Write and execute for the group, anything for the world: what a file of root may not have. */
const FORBIDDEN_TO_ROOTS_FILE = 0o037;

/** Absolute paths of the files under `key`, in order; each problem is noted at its key. */
export function readFilePaths(reader: TableReader, key: string, kind: FileKind): string[] {
  return reader
    .strings(key, 'a path or a list of paths')
    .map((located) => checkedPath(reader, located, kind));
}

/** Absolute path of the one file under `key`, null when absent. */
export function readFilePath(reader: TableReader, key: string, kind: FileKind): string | null {
  const text = reader.string(key);
  return text === null ? null : checkedPath(reader, { text, path: reader.pathOf(key) }, kind);
}

/** The absolute path of a file; a problem with it is noted at its key. */
export function checkedPath(reader: TableReader, { text, path }: Located, kind: FileKind): string {
  const file = resolve(reader.context.directory, text);
  // The first pgtls took them, so they stand in its files.
  const isUrl = /^https?:\/\//i.test(text);
  const problem = isUrl
    ? `"${text}" is a URL; expected a file, for nothing is fetched`
    : fileProblem(file, kind);
  if (problem !== null) {
    reader.context.problems.error(path, problem);
  }
  return file;
}

/** What is wrong with `file`, null = nothing. */
function fileProblem(file: string, kind: FileKind): string | null {
  try {
    const stats = statSync(file);
    if (stats.isDirectory()) {
      return `"${file}" is a directory; expected a file`;
    }
    accessSync(file, constants.R_OK);
    return kind === 'certificate' ? null : privateKeyProblem(file, stats, kind);
  } catch (error) {
    return readProblem(file, error);
  }
}

/**
 * PostgreSQL's rule for private keys (libpq's form of it, which holds for a process of root, too): 0600 or less, or
 * 0640 or less when owned by root; null = it holds.
 */
export function privateKeyProblem(
  file: string,
  { uid, mode }: Pick<Stats, 'uid' | 'mode'>,
  kind: FileKind = 'private-key',
): string | null {
  const forbidden = uid === 0 ? FORBIDDEN_TO_ROOTS_FILE : GROUP_OR_WORLD;
  if ((mode & forbidden) === 0) {
    return null;
  }
  const written = (mode & 0o777).toString(8).padStart(4, '0');
  return (
    `${kind.replace('-', ' ')} "${file}" has group or world access (mode ${written}); expected 0600 or less, ` +
    'or 0640 or less when owned by root (in a Kubernetes Secret volume: defaultMode: 0440)'
  );
}

function readProblem(file: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  switch (code) {
    case 'ENOENT':
      return `file "${file}" does not exist`;
    case 'EACCES':
      return `file "${file}" cannot be read: permission denied`;
    default:
      return `file "${file}" cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}
