/** Reads `[proxy.listener]`. May import the other files of config/ only. */
import { isSameBind, parseBindAddress, type UnixSocketAccess } from './address.ts';
import type { KeyPath } from './diagnostics.ts';
import { readFilePath } from './files.ts';
import { readHosts, warnOfUnusedHosts } from './hosts.ts';
import { readIdentityFiles } from './identity-files.ts';
import { readNetworks } from './networks.ts';
import { readListenerProxyProtocol } from './proxy-protocol.ts';
import type { BindAddress, ListenerConfig } from './schema.ts';
import { readSessionTickets } from './session-tickets.ts';
import { readListenerSslmode, readListenerSslnegotiation } from './sslmode.ts';
import { describe, type Located, type TableReader } from './table-reader.ts';
import { readAlpn, readNames, readTlsVersions } from './tls-policy.ts';

/** An address with the key it came from. */
export interface LocatedBind {
  readonly address: BindAddress;
  readonly path: KeyPath;
}

/** A listener, and its addresses with their keys, so that the whole file can be searched for duplicates. */
export interface ReadListener {
  readonly listener: ListenerConfig;
  readonly binds: readonly LocatedBind[];
  /** The backends that its hosts name. */
  readonly backendNames: readonly Located[];
}

const DEFAULT_GROUPS: readonly string[] = ['X25519MLKEM768', 'X25519', 'secp256r1', 'secp384r1'];
const DAY_MILLIS = 86_400_000;
/** Linux keeps keepalive times in whole seconds, at most this many (MAX_TCP_KEEPIDLE). */
const MAX_KEEPALIVE_MILLIS = 32_767_000;
const MAX_KEEPALIVE_COUNT = 127;

/** Reads a listener's table; problems are noted, defaults stand in. */
export function readListener(reader: TableReader): ReadListener {
  reader.checkKeys();
  const binds = readBinds(reader);
  const bindAddresses = binds.map(({ address }) => address);
  const files = { ...readIdentityFiles(reader), ...readClientCertificateFiles(reader) };
  const { hosts, backendNames } = readHosts(reader);
  const sslmode = readListenerSslmode(reader, {
    bindAddresses,
    hasCertificate: files.sslCertFiles.length > 0 || reader.has('host'),
    hasCa: files.sslCaFile !== null,
  });
  const sslnegotiation = readListenerSslnegotiation(reader, sslmode);
  warnOfUnusedHosts(reader, sslmode);
  const listener: ListenerConfig = {
    bindAddresses,
    sslmode,
    sslnegotiation,
    ...files,
    sslPassphraseCommand: reader.string('ssl_passphrase_command'),
    noSni: reader.choice('no_sni', ['default', 'refuse'], 'default'),
    hosts,
    ...readTlsVersions(reader),
    sslCiphers: readNames(reader, 'ssl_ciphers', []),
    sslGroups: readGroups(reader),
    alpn: readAlpn(reader, sslmode !== 'disable' && sslnegotiation !== 'postgres'),
    ...readSessionTickets(reader),
    certRefreshIntervalMillis: reader.duration('cert_refresh_interval', DAY_MILLIS, { min: 1000 }),
    maxClientConn: reader.integer('max_client_conn', 0, { min: 0 }),
    maxClientConnPerIp: reader.integer('max_client_conn_per_ip', 0, { min: 0 }),
    connRatePerIp: reader.integer('conn_rate_per_ip', 0, { min: 0 }),
    ...readListenerProxyProtocol(reader, bindAddresses),
    listenBacklog: reader.integer('listen_backlog', 4096, { min: 1 }),
    soReuseport: reader.boolean('so_reuseport', false),
    ...readSocket(reader),
    allow: readNetworks(reader, 'allow'),
    deny: readNetworks(reader, 'deny'),
  };
  return { listener, binds, backendNames };
}

/** Notes an error at every address that an earlier one already takes. */
export function checkDuplicateBinds(binds: readonly LocatedBind[], reader: TableReader): void {
  binds.forEach(({ address, path }, index) => {
    const earlier = binds.slice(0, index).find((other) => isSameBind(other.address, address));
    if (earlier !== undefined) {
      reader.context.problems.error(
        path,
        'is bound twice: an address above is the same or includes it',
      );
    }
  });
}

function readBinds(reader: TableReader): LocatedBind[] {
  const written = reader.strings('bind_address');
  if (reader.raw('bind_address') === undefined) {
    reader.error(
      'bind_address',
      'missing; expected such as "0.0.0.0:6432" or "unix:/run/pgtls/.s.PGSQL.6432"',
    );
  } else if (written.length === 0 && Array.isArray(reader.raw('bind_address'))) {
    reader.error('bind_address', 'expected at least one address');
  }
  const access = readUnixSocketAccess(reader);
  const binds = written.flatMap(({ text, path }) => {
    const parsed = parseBindAddress(text, reader.context.directory, access);
    if (!parsed.ok) {
      reader.context.problems.error(path, parsed.message);
      return [];
    }
    return [{ address: parsed.value, path }];
  });
  warnOfUnusedAccess(reader, binds);
  return binds;
}

function readUnixSocketAccess(reader: TableReader): UnixSocketAccess {
  const value = reader.raw('unix_socket_mode');
  const text = typeof value === 'string' ? reader.string('unix_socket_mode') : null;
  const isOctal = text !== null && /^0?[0-7]{3}$/.test(text);
  if (value !== undefined && !isOctal && (text !== null || typeof value !== 'string')) {
    reader.error(
      'unix_socket_mode',
      `expected octal digits in quotes, such as "0770", got ${describe(text ?? value)}`,
    );
  }
  return {
    mode: isOctal ? Number.parseInt(text, 8) : null,
    group: reader.string('unix_socket_group'),
  };
}

function warnOfUnusedAccess(reader: TableReader, binds: readonly LocatedBind[]): void {
  if (binds.some(({ address }) => address.kind === 'unix')) {
    return;
  }
  for (const key of ['unix_socket_mode', 'unix_socket_group']) {
    if (reader.has(key)) {
      reader.context.problems.warn(
        reader.pathOf(key),
        'has no effect: bind_address names no unix socket',
      );
    }
  }
}

/** CRLs and user map say something of certificates that a CA file makes pgtls ask for. */
function readClientCertificateFiles(
  reader: TableReader,
): Pick<ListenerConfig, 'sslCaFile' | 'sslCrlFile' | 'userMapFile'> {
  const sslCaFile = readCaFile(reader);
  const files = {
    sslCrlFile: readFilePath(reader, 'ssl_crl_file', 'certificate'),
    userMapFile: readFilePath(reader, 'user_map_file', 'certificate'),
  };
  for (const key of ['ssl_crl_file', 'user_map_file']) {
    if (reader.has(key) && sslCaFile === null) {
      reader.error(key, 'has no effect without client certificates; set ssl_ca_file, too');
    } else if (reader.has(key) && reader.raw('sslmode') === 'disable') {
      reader.error(key, 'has no effect with sslmode "disable"; remove it, or set another sslmode');
    }
  }
  return { sslCaFile, ...files };
}

/** The first pgtls asked for no client certificate with `mtls = false`, whatever client_ca said. */
function readCaFile(reader: TableReader): string | null {
  const file = readFilePath(reader, 'ssl_ca_file', 'certificate');
  if (file !== null && reader.raw('mtls') === false && !reader.has('sslmode')) {
    reader.context.problems.warn(reader.pathOf('ssl_ca_file'), 'has no effect with mtls = false');
    return null;
  }
  return file;
}

function readGroups(reader: TableReader): readonly string[] {
  const groups = readNames(reader, 'ssl_groups', DEFAULT_GROUPS);
  const written = reader.raw('ssl_groups');
  if (Array.isArray(written) && written.length === 0) {
    reader.error('ssl_groups', 'expected at least one group');
    return DEFAULT_GROUPS;
  }
  return groups;
}

type SocketSettings = Pick<
  ListenerConfig,
  | 'tcpKeepalive'
  | 'tcpKeepidleMillis'
  | 'tcpKeepintvlMillis'
  | 'tcpKeepcnt'
  | 'tcpUserTimeoutMillis'
  | 'clientIdleTimeoutMillis'
>;

function readSocket(reader: TableReader): SocketSettings {
  return {
    tcpKeepalive: reader.boolean('tcp_keepalive', true),
    tcpKeepidleMillis: readKeepaliveTime(reader, 'tcp_keepidle'),
    tcpKeepintvlMillis: readKeepaliveTime(reader, 'tcp_keepintvl'),
    tcpKeepcnt: reader.integer('tcp_keepcnt', 0, { min: 0, max: MAX_KEEPALIVE_COUNT }),
    tcpUserTimeoutMillis: reader.duration('tcp_user_timeout', 0, { min: 0 }),
    clientIdleTimeoutMillis: reader.duration('client_idle_timeout', 0, { min: 0 }),
  };
}

function readKeepaliveTime(reader: TableReader, key: string): number {
  const millis = reader.duration(key, 0, { min: 0, max: MAX_KEEPALIVE_MILLIS });
  if (millis % 1000 !== 0) {
    reader.error(key, 'expected whole seconds: the kernel keeps this time in seconds');
  }
  return millis;
}
