/**
 * The file of a unix-domain listener: replacing a stale one, and its mode and group.
 */
import { chmodSync, chownSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';

/** Where groups are listed; those of other name services are given as a number. */
const GROUP_FILE = '/etc/group';

/**
 * Removes the socket file at `path` if no process listens on it; returns whether it did. A file
 * that is no socket is never touched.
 */
export async function removeStaleSocket(path: string): Promise<boolean> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket() || !(await isStale(path))) {
    return false;
  }
  unlinkSync(path);
  return true;
}

/** Sets mode and group; null leaves what umask and process gave. Throws when the group is unknown. */
export function applyPermissions(path: string, mode: number | null, group: string | null): void {
  if (group !== null) {
    chownSync(path, -1, groupIdOf(group));
  }
  if (mode !== null) {
    chmodSync(path, mode);
  }
}

function isStale(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}

function groupIdOf(group: string): number {
  if (/^\d+$/.test(group)) {
    return Number(group);
  }
  for (const line of readFileSync(GROUP_FILE, 'utf8').split('\n')) {
    const [name, , id] = line.split(':');
    if (name === group && id !== undefined) {
      return Number(id);
    }
  }
  throw new Error(`group "${group}" is not in ${GROUP_FILE}; give its number instead`);
}
