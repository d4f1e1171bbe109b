/**
 * target_session_attrs and the user whose probes learn which server has which role.
 *
 * May import the other files of config/ only. libpq needs no user of its own: it asks after it has logged in. A relay sees the
 * role only when the client has authenticated, which it does once.
 */
import { readFilePath } from './files.ts';
import type { RoleConfig, TargetSessionAttrs } from './schema.ts';
import type { TableReader } from './table-reader.ts';

const VALUES: readonly TargetSessionAttrs[] = [
  'any',
  'read-write',
  'read-only',
  'primary',
  'standby',
  'prefer-standby',
];

const PROBE_KEYS = ['probe_user', 'probe_password_file', 'probe_database'] as const;

/** Reads target_session_attrs and the probes' keys; null = any. */
export function readRoles(reader: TableReader): RoleConfig | null {
  const targetSessionAttrs = reader.choice('target_session_attrs', VALUES, 'any');
  const probeUser = readName(reader, 'probe_user');
  const probePasswordFile = readFilePath(reader, 'probe_password_file', 'password file');
  const probeDatabase = readName(reader, 'probe_database') ?? 'postgres';
  if (targetSessionAttrs === 'any') {
    warnOfIdleKeys(reader);
    return null;
  }
  if (!reader.has('probe_user')) {
    const message =
      `missing; target_session_attrs "${targetSessionAttrs}" needs a user for probes: ` +
      "a relay learns a server's role only after authentication";
    reader.error('probe_user', message);
  }
  return { targetSessionAttrs, probeUser: probeUser ?? '', probePasswordFile, probeDatabase };
}

/** A name as a startup packet can carry it. */
function readName(reader: TableReader, key: (typeof PROBE_KEYS)[number]): string | null {
  const name = reader.string(key);
  if (name?.includes('\0')) {
    reader.error(key, 'must not contain a zero byte');
  }
  return name;
}

function warnOfIdleKeys(reader: TableReader): void {
  const key = PROBE_KEYS.find((candidate) => reader.has(candidate));
  if (key !== undefined && key !== 'probe_database') {
    const message = 'has no effect: with target_session_attrs "any" nothing is probed';
    reader.context.problems.warn(reader.pathOf(key), message);
  }
}
