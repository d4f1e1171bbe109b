/**
 * What sslmode means on both sides, together with the keys that change it: mtls, tls_enabled, ssl_ca_file, sslrootcert,
 * sslnegotiation, and what holds when it is absent.
 *
 * May import the other files of config/ only. Sources: libpq's "SSL Support" chapter, the first pgtls's defaults.
 */
import { formatAddress, isLocalAddress } from './address.ts';
import type {
  BackendAddress,
  BackendSslmode,
  BackendSslnegotiation,
  BindAddress,
  ListenerSslmode,
  ListenerSslnegotiation,
} from './schema.ts';
import type { TableReader } from './table-reader.ts';

/** What the listener's sslmode depends on. */
export interface ListenerTlsFacts {
  readonly bindAddresses: readonly BindAddress[];
  /** Whether a certificate is named, be it readable or not. */
  readonly hasCertificate: boolean;
  readonly hasCa: boolean;
}

/** What the backend's sslmode depends on. */
export interface BackendTlsFacts {
  readonly addresses: readonly BackendAddress[];
  /** A path, `system`, or null. */
  readonly sslrootcert: string | null;
}

/** The backend's mode and the CAs it uses. */
export interface BackendTls {
  readonly sslmode: BackendSslmode;
  readonly sslrootcert: string | null;
}

const LISTENER_MODES: readonly ListenerSslmode[] = ['disable', 'prefer', 'require', 'verify-ca'];
const BACKEND_MODES: readonly BackendSslmode[] = [
  'disable',
  'prefer',
  'require',
  'verify-ca',
  'verify-full',
];

const ALLOW_REASON =
  'it starts in plaintext and encrypts only on demand, which protects nothing and cannot be relayed';

/** Reads sslmode and mtls of a listener; without either, as the first pgtls: prefer, or disable without a certificate. */
export function readListenerSslmode(reader: TableReader, facts: ListenerTlsFacts): ListenerSslmode {
  const fallback = facts.hasCertificate ? 'prefer' : 'disable';
  const isVerifying = reader.boolean('mtls', false);
  const written = reader.choice('sslmode', LISTENER_MODES, fallback, {
    allow: ALLOW_REASON,
    'verify-full': 'a client certificate has no host name to compare; the nearest is "verify-ca"',
  });
  const sslmode = isVerifying && !reader.has('sslmode') ? 'verify-ca' : written;
  checkListenerFiles(reader, sslmode, facts);
  if (!reader.has('sslmode') && !isVerifying) {
    warnOfPlaintextListener(reader, sslmode, facts.bindAddresses);
  }
  return sslmode;
}

function checkListenerFiles(
  reader: TableReader,
  sslmode: ListenerSslmode,
  facts: ListenerTlsFacts,
): void {
  if (
    sslmode !== 'disable' &&
    !facts.hasCertificate &&
    !hasAny(reader, 'ssl_cert_file', 'server_cert')
  ) {
    reader.error('ssl_cert_file', `missing; sslmode "${sslmode}" needs a certificate and its key`);
  }
  if (sslmode === 'verify-ca' && !facts.hasCa && !hasAny(reader, 'ssl_ca_file', 'client_ca')) {
    const cause = reader.has('sslmode') ? 'sslmode "verify-ca"' : 'mtls';
    reader.error('ssl_ca_file', `missing; ${cause} needs the CAs of client certificates`);
  }
}

function warnOfPlaintextListener(
  reader: TableReader,
  sslmode: ListenerSslmode,
  addresses: readonly BindAddress[],
): void {
  const open = addresses.find((address) => !isLocalAddress(address));
  if (open !== undefined) {
    const message =
      `missing, so "${sslmode}" as in the first pgtls: clients of ${formatAddress(open)} may send ` +
      'passwords and data in plaintext; write sslmode = "require", or name your choice';
    reader.context.problems.warn(reader.pathOf('sslmode'), message);
  }
}

/** Reads sslnegotiation of a listener; direct alone needs TLS to be demanded. */
export function readListenerSslnegotiation(
  reader: TableReader,
  sslmode: ListenerSslmode,
): ListenerSslnegotiation {
  const values: readonly ListenerSslnegotiation[] = ['postgres', 'direct', 'any'];
  const sslnegotiation = reader.choice('sslnegotiation', values, 'any');
  checkDirect(reader, sslnegotiation, sslmode);
  return sslnegotiation;
}

/** Reads sslmode and tls_enabled of a backend and completes sslrootcert, as libpq does with the differences noted here. */
export function readBackendTls(reader: TableReader, facts: BackendTlsFacts): BackendTls {
  const sslmode = readBackendSslmode(reader, facts);
  const { sslrootcert } = facts;
  warnOfUnixSocket(reader, sslmode, facts.addresses);
  if (sslrootcert === 'system' && sslmode !== 'verify-full' && reader.has('sslmode')) {
    const message = `"system" with sslmode "${sslmode}" is too weak: anyone can get a certificate of a public CA; expected sslmode "verify-full"`;
    reader.error('sslrootcert', message);
  }
  if (
    sslmode === 'verify-ca' &&
    sslrootcert === null &&
    !hasAny(reader, 'sslrootcert', 'root_ca')
  ) {
    reader.error('sslrootcert', 'missing; sslmode "verify-ca" needs the CAs of the backend');
  }
  if (sslmode === 'require' && sslrootcert !== null) {
    return { sslmode: 'verify-ca', sslrootcert };
  }
  return {
    sslmode,
    sslrootcert: sslmode === 'verify-full' ? (sslrootcert ?? 'system') : sslrootcert,
  };
}

function readBackendSslmode(reader: TableReader, facts: BackendTlsFacts): BackendSslmode {
  const isEnabled = reader.boolean('tls_enabled', false);
  // libpq: sslrootcert=system raises the default of sslmode.
  const fallback = isEnabled || facts.sslrootcert === 'system' ? 'verify-full' : 'disable';
  const written = reader.choice('sslmode', BACKEND_MODES, fallback, { allow: ALLOW_REASON });
  if (reader.has('sslmode')) {
    return written;
  }
  if (reader.has('tls_enabled')) {
    return isEnabled ? 'verify-full' : 'disable';
  }
  const remote = facts.addresses.find((address) => !isLocalAddress(address));
  if (fallback === 'disable' && remote !== undefined) {
    const message =
      `missing, so "disable" as in the first pgtls: sessions go to ${formatAddress(remote)} in plaintext; ` +
      'write sslmode = "verify-full", or name your choice';
    reader.context.problems.warn(reader.pathOf('sslmode'), message);
  }
  return fallback;
}

function warnOfUnixSocket(
  reader: TableReader,
  sslmode: BackendSslmode,
  addresses: readonly BackendAddress[],
): void {
  const socket = addresses.find(({ kind }) => kind === 'unix');
  if (socket !== undefined && sslmode !== 'disable') {
    const message = `"${sslmode}" has no effect on ${formatAddress(socket)}: as in libpq, unix sockets have no TLS`;
    reader.context.problems.warn(reader.pathOf('sslmode'), message);
  }
}

/** Reads sslnegotiation of a backend; direct needs TLS to be demanded, as in libpq. */
export function readBackendSslnegotiation(
  reader: TableReader,
  sslmode: BackendSslmode,
): BackendSslnegotiation {
  const values: readonly BackendSslnegotiation[] = ['postgres', 'direct'];
  const sslnegotiation = reader.choice('sslnegotiation', values, 'postgres');
  checkDirect(reader, sslnegotiation, sslmode);
  return sslnegotiation;
}

function checkDirect(
  reader: TableReader,
  sslnegotiation: ListenerSslnegotiation,
  sslmode: BackendSslmode,
): void {
  if (sslnegotiation === 'direct' && (sslmode === 'disable' || sslmode === 'prefer')) {
    reader.error(
      'sslnegotiation',
      `"direct" with sslmode "${sslmode}" is too weak; expected sslmode "require" or stronger`,
    );
  }
}

function hasAny(reader: TableReader, ...keys: readonly string[]): boolean {
  return keys.some((key) => reader.has(key));
}
