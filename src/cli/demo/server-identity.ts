/**
 * Which system user PostgreSQL runs as, and what that user can reach.
 *
 * PostgreSQL refuses to run as root. When we are root it gets the account `postgres`, else `nobody`: both need only
 * exist, nothing is created on the system. When we aren't root it simply runs as us.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { PgtlsError } from '../../errors.ts';

/** The user and group of PostgreSQL's processes; null when they are our own. */
export interface ServerIdentity {
  readonly user: string;
  readonly ids: { readonly uid: number; readonly gid: number } | null;
}

const ACCOUNTS_FOR_ROOT = ['postgres', 'nobody'];

/** Finds the user that PostgreSQL is to run as; throws PGTLS_START_FAILED when root has no such account. */
export function findServerIdentity(): ServerIdentity {
  const own = userInfo();
  if (own.uid !== 0) {
    return { user: own.username, ids: null };
  }
  for (const user of ACCOUNTS_FOR_ROOT) {
    const uid = idOf('-u', user);
    const gid = idOf('-g', user);
    if (uid !== null && gid !== null) {
      return { user, ids: { uid, gid } };
    }
  }
  throw new PgtlsError(
    'PGTLS_START_FAILED',
    `PostgreSQL refuses to run as root, and none of the accounts ${ACCOUNTS_FOR_ROOT.join(', ')} exists`,
  );
}

function idOf(flag: '-u' | '-g', user: string): number | null {
  try {
    const text = execFileSync('id', [flag, user], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number.parseInt(text, 10);
  } catch {
    return null;
  }
}

/** Whether the identity can execute (or, for a directory, enter) `path`; the kernel is asked, not the mode bits. */
export function canReach(identity: ServerIdentity, path: string): boolean {
  const ids = identity.ids ?? {};
  return (
    spawnSync('/bin/sh', ['-c', 'test -x "$0"', path], { ...ids, stdio: 'ignore', cwd: '/' })
      .status === 0
  );
}

/**
 * Makes a fresh directory under the first temporary directory that the identity can enter. It belongs to us and others may
 * pass through it, not list it: secrets inside carry their own modes. The caller removes it.
 */
export function createTemporaryDirectory(prefix: string, identity: ServerIdentity): string {
  const bases = [...new Set([tmpdir(), '/tmp', '/var/tmp'])];
  for (const base of bases) {
    const directory = tryTemporaryDirectory(join(base, prefix), identity);
    if (directory !== null) {
      return directory;
    }
  }
  throw new PgtlsError(
    'PGTLS_START_FAILED',
    `PostgreSQL runs as the user ${identity.user}, who can't enter ${bases.join(' or ')}: ` +
      'set TMPDIR to a directory that every user may enter (chmod o+x on it and on its parents)',
  );
}

function tryTemporaryDirectory(prefix: string, identity: ServerIdentity): string | null {
  let directory: string;
  try {
    directory = mkdtempSync(prefix);
  } catch {
    return null;
  }
  chmodSync(directory, 0o711);
  if (canReach(identity, directory)) {
    return directory;
  }
  rmdirSync(directory);
  return null;
}

/** Gives a file or directory to the identity. */
export function giveTo(identity: ServerIdentity, path: string): void {
  if (identity.ids !== null) {
    chownSync(path, identity.ids.uid, identity.ids.gid);
  }
}
