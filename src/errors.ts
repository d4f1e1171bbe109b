/**
 * PgtlsError and the single table of its codes.
 *
 * Imports nothing. Users match `code`, never the message; docs/errors.md shows this table and a test compares the two.
 */

/** Every code a {@link PgtlsError} can carry. */
export type PgtlsErrorCode =
  | 'PGTLS_ARGUMENTS_INVALID'
  | 'PGTLS_CONFIG_UNREADABLE'
  | 'PGTLS_CONFIG_INVALID'
  | 'PGTLS_TLS_CONFIG_INVALID'
  | 'PGTLS_BINDING_MISSING'
  | 'PGTLS_START_FAILED'
  | 'PGTLS_BIND_FAILED'
  | 'PGTLS_DATA_PLANE_FAILED'
  | 'PGTLS_FD_UNAVAILABLE'
  | 'PGTLS_ADOPT_FAILED'
  | 'PGTLS_ROUTE_UNKNOWN'
  | 'PGTLS_TOO_MANY_CONNECTIONS'
  | 'PGTLS_NOTIFY_FAILED'
  | 'PGTLS_WORKER_RESTARTED'
  | 'PGTLS_ALREADY_LISTENING'
  | 'PGTLS_NOT_LISTENING'
  | 'PGTLS_CLOSED';

/** What a code means and what to do about it, one sentence each. */
export interface ErrorCodeDescription {
  /** What happened. */
  readonly meaning: string;
  /** What helps. */
  readonly remedy: string;
}

/** All codes; the order is that of docs/errors.md. */
export const ERROR_CODES: Readonly<Record<PgtlsErrorCode, ErrorCodeDescription>> = {
  PGTLS_ARGUMENTS_INVALID: {
    meaning:
      'The command line has an unknown option or command, or lacks a value; or a function was called with what it cannot use.',
    remedy: 'See `pgtls --help`, or docs/api.md.',
  },
  PGTLS_CONFIG_UNREADABLE: {
    meaning: 'The configuration file cannot be read.',
    remedy: 'Check the path given with `-c` and the permissions of the file.',
  },
  PGTLS_CONFIG_INVALID: {
    meaning: 'The configuration file has errors; `diagnostics` lists all of them.',
    remedy: 'Correct the named keys; `pgtls validate -c FILE` checks without starting.',
  },
  PGTLS_TLS_CONFIG_INVALID: {
    meaning: 'A certificate, key, CA file, cipher or group cannot be used.',
    remedy: 'Correct the file or the key that the message names.',
  },
  PGTLS_BINDING_MISSING: {
    meaning:
      'The native binding for this platform is missing, does not load, or has another version.',
    remedy: 'Do what the last line of the message says.',
  },
  PGTLS_START_FAILED: {
    meaning: 'Something other than configuration or binding kept pgtls from starting.',
    remedy: 'Read the message and its `cause`.',
  },
  PGTLS_BIND_FAILED: {
    meaning: 'A listener could not be bound: the address is in use, not local, or not permitted.',
    remedy: 'End the other program, or change `bind_address`.',
  },
  PGTLS_DATA_PLANE_FAILED: {
    meaning: 'The data plane (the Rust side) reported a failure that ends it.',
    remedy: 'Restart pgtls and report the message.',
  },
  PGTLS_FD_UNAVAILABLE: {
    meaning: 'Node.js gave no usable file descriptor for an accepted socket.',
    remedy: 'Run a supported version of Node.js (>= 20.19).',
  },
  PGTLS_ADOPT_FAILED: {
    meaning: 'The data plane could not take over an accepted connection.',
    remedy: 'Check the limit of open files (`ulimit -n`).',
  },
  PGTLS_ROUTE_UNKNOWN: {
    meaning: 'A connection was handed over for a route that the data plane does not have.',
    remedy: 'Report it: listener and data plane disagree.',
  },
  PGTLS_TOO_MANY_CONNECTIONS: {
    meaning: 'A connection was refused because a connection limit is reached.',
    remedy: 'Raise `max_client_conn` or `max_client_conn_per_ip`.',
  },
  PGTLS_NOTIFY_FAILED: {
    meaning: 'The service manager (systemd) could not be told how pgtls is.',
    remedy: 'Check that pgtls may write to the socket that `NOTIFY_SOCKET` names.',
  },
  PGTLS_WORKER_RESTARTED: {
    meaning: 'A thread of the data plane died and was replaced; the sessions of a worker are lost.',
    remedy: 'Report the message; new connections are served.',
  },
  PGTLS_ALREADY_LISTENING: {
    meaning: '`listen()` was called on a proxy that listens or is about to.',
    remedy: 'Call it once; `reload()` puts another configuration in force.',
  },
  PGTLS_NOT_LISTENING: {
    meaning: 'The proxy was used before `listen()` had resolved.',
    remedy: 'Await `listen()` first.',
  },
  PGTLS_CLOSED: {
    meaning: 'The proxy or the data plane was used after `close()`.',
    remedy: 'Start a new one.',
  },
};

/** The one error class that pgtls throws; `code` is stable, the message is for people. */
export class PgtlsError extends Error {
  /** Stable identifier from {@link ERROR_CODES}. */
  readonly code: PgtlsErrorCode;

  constructor(code: PgtlsErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'PgtlsError';
    this.code = code;
  }
}
