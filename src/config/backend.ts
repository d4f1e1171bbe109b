/** Reads `[proxy.backend]`. May import the other files of config/ only. */
import { parseBackendAddress } from './address.ts';
import { checkedPath, readFilePath } from './files.ts';
import { readBackendProxyProtocol } from './proxy-protocol.ts';
import { readRoles } from './roles.ts';
import type { BackendAddress, BackendConfig } from './schema.ts';
import { readBackendSslnegotiation, readBackendTls } from './sslmode.ts';
import type { TableReader } from './table-reader.ts';
import { readTlsVersions } from './tls-policy.ts';
import { readWarm } from './warm.ts';

/** Reads a backend's table; problems are noted, defaults stand in. */
export function readBackend(reader: TableReader): BackendConfig {
  reader.checkKeys();
  const addresses = readAddresses(reader);
  const { sslmode, sslrootcert } = readBackendTls(reader, {
    addresses,
    sslrootcert: readRootcert(reader),
  });
  return {
    addresses,
    sslmode,
    sslnegotiation: readBackendSslnegotiation(reader, sslmode),
    sslrootcert,
    sslcrl: readCrl(reader, sslrootcert),
    ...readClientIdentity(reader),
    sslsni: reader.boolean('sslsni', true),
    ...readTlsVersions(reader),
    // libpq's 0 (for ever) is refused: every wait on a peer has a deadline.
    connectTimeoutMillis: reader.duration('connect_timeout', 5000, { min: 1 }),
    loadBalanceHosts: reader.choice('load_balance_hosts', ['disable', 'random'], 'disable'),
    roles: readRoles(reader),
    warm: readWarm(reader),
    proxyProtocol: readBackendProxyProtocol(reader),
    applicationNameAddHost: reader.boolean('application_name_add_host', false),
  };
}

function readAddresses(reader: TableReader): BackendAddress[] {
  const written = reader.strings('address');
  if (reader.raw('address') === undefined) {
    reader.error(
      'address',
      'missing; expected such as "db.example.com:5432" or "unix:/run/postgresql"',
    );
  } else if (written.length === 0 && Array.isArray(reader.raw('address'))) {
    reader.error('address', 'expected at least one address');
  }
  return written.flatMap(({ text, path }) => {
    const parsed = parseBackendAddress(text, reader.context.directory);
    if (!parsed.ok) {
      reader.context.problems.error(path, parsed.message);
      return [];
    }
    return [parsed.value];
  });
}

function readRootcert(reader: TableReader): string | null {
  const text = reader.string('sslrootcert');
  return text === null || text === 'system'
    ? text
    : checkedPath(reader, { text, path: reader.pathOf('sslrootcert') }, 'certificate');
}

/** CRLs of all public CAs are in no file: they need CAs of one's own. */
function readCrl(reader: TableReader, sslrootcert: string | null): string | null {
  const sslcrl = readFilePath(reader, 'sslcrl', 'certificate');
  if (reader.has('sslcrl') && (sslrootcert === null || sslrootcert === 'system')) {
    reader.error('sslcrl', 'needs the CAs of the backend; set sslrootcert to a PEM file');
  }
  return sslcrl;
}

function readClientIdentity(reader: TableReader): Pick<BackendConfig, 'sslcert' | 'sslkey'> {
  const sslcert = readFilePath(reader, 'sslcert', 'certificate');
  const sslkey = readFilePath(reader, 'sslkey', 'private-key');
  const [hasCert, hasKey] = [
    reader.raw('sslcert') !== undefined,
    reader.raw('sslkey') !== undefined,
  ];
  if (hasCert && !hasKey) {
    reader.error('sslkey', 'missing; sslcert needs its private key');
  } else if (hasKey && !hasCert) {
    reader.error('sslcert', 'missing; sslkey needs its certificate');
  }
  return { sslcert, sslkey };
}
