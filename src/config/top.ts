/** Reads the top level of the file and its `[[proxy]]` tables. May import the other files of config/ only. */
import { formatAddress } from './address.ts';
import { readAdmin } from './admin.ts';
import { readBackend } from './backend.ts';
import { readBackends } from './backends.ts';
import type { KeyPath } from './diagnostics.ts';
import { checkDuplicateBinds, type LocatedBind, readListener } from './listener.ts';
import type { Config, LogFormat, LogLevel, ProxyConfig } from './schema.ts';
import { describe, isTable, TableReader } from './table-reader.ts';

interface ReadProxy {
  readonly proxy: ProxyConfig;
  readonly binds: readonly LocatedBind[];
  readonly path: KeyPath;
}

const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];
const LOG_FORMATS: readonly LogFormat[] = ['json', 'pretty'];
const DRIVERS = ['auto', 'tokio'] as const;
const REFUSED_DRIVERS: Readonly<Record<string, string>> = {
  io_uring: 'this version has no such driver, docs/adr/0017-no-io-uring-driver.md says why',
};
const MAX_WORKERS = 1024;
const MAX_NAME_LENGTH = 128;

/** Reads the whole file; problems are noted, defaults stand in. */
export function readTop(reader: TableReader): Config {
  reader.checkKeys();
  // Checked alone: all that it may say is the same driver.
  reader.choice('driver', DRIVERS, 'auto', REFUSED_DRIVERS);
  const proxies = readProxies(reader);
  const { admin, binds } = readAdmin(reader);
  checkDuplicateBinds([...proxies.flatMap((proxy) => proxy.binds), ...binds], reader);
  checkDuplicateNames(proxies, reader);
  return {
    logLevel: reader.choice('log_level', LOG_LEVELS, 'info', { warning: 'the level is "warn"' }),
    logFormat: reader.choice('log_format', LOG_FORMATS, 'json'),
    workers: reader.integer('workers', 0, { min: 0, max: MAX_WORKERS }),
    maxClientConn: reader.integer('max_client_conn', 10_000, { min: 1 }),
    maxConcurrentHandshakes: reader.integer('max_concurrent_handshakes', 256, { min: 1 }),
    clientLoginTimeoutMillis: reader.duration('client_login_timeout', 15_000, { min: 1 }),
    shutdownTimeoutMillis: reader.duration('shutdown_timeout', 60_000, { min: 0 }),
    shutdownDelayMillis: reader.duration('shutdown_delay', 0, { min: 0 }),
    reloadOnChange: reader.boolean('reload_on_change', true),
    admin,
    proxies: proxies.map(({ proxy }) => proxy),
  };
}

function readProxies(reader: TableReader): ReadProxy[] {
  const value = reader.raw('proxy');
  if (!Array.isArray(value) || value.length === 0) {
    const found =
      value === undefined || Array.isArray(value) ? 'there is none' : `got ${describe(value)}`;
    const hint = isTable(value) ? '; write [[proxy]] with two brackets' : '';
    reader.error('proxy', `expected at least one [[proxy]], ${found}${hint}`);
    return [];
  }
  return value.flatMap((element, index) => {
    const path = ['proxy', index];
    if (!isTable(element)) {
      reader.context.problems.error(path, `expected a table, got ${describe(element)}`);
      return [];
    }
    return [readProxy(new TableReader('proxy', element, path, reader.context))];
  });
}

function readProxy(reader: TableReader): ReadProxy {
  reader.checkKeys();
  refuseCache(reader);
  const { listener, binds, backendNames } = readListener(reader.table('listener'));
  const backend = readBackend(reader.table('backend'));
  const others = readBackends(reader, backendNames);
  const [address] = listener.bindAddresses;
  const fallback = address === undefined ? '' : formatAddress(address);
  return {
    proxy: { name: readName(reader) ?? fallback, listener, backend, ...others },
    binds,
    path: reader.path,
  };
}

function readName(reader: TableReader): string | null {
  const name = reader.string('name');
  if (name !== null && (name.length > MAX_NAME_LENGTH || /\p{Cc}/u.test(name))) {
    reader.error(
      'name',
      `expected at most ${MAX_NAME_LENGTH} characters, none of them a control character`,
    );
  }
  return name;
}

function checkDuplicateNames(proxies: readonly ReadProxy[], reader: TableReader): void {
  proxies.forEach(({ proxy: { name }, path }, index) => {
    if (name !== '' && proxies.slice(0, index).some((other) => other.proxy.name === name)) {
      reader.context.problems.error(
        [...path, 'name'],
        `"${name}" is the name of an earlier [[proxy]]; expected a unique one`,
      );
    }
  });
}

/** The query cache is reserved: what says that it is off is accepted, so that files can be prepared. */
function refuseCache(reader: TableReader): void {
  const cache = reader.raw('cache');
  const { problems } = reader.context;
  if (cache === undefined) {
    return;
  }
  if (!isTable(cache)) {
    reader.error('cache', `expected a table [proxy.cache], got ${describe(cache)}`);
    return;
  }
  for (const [key, value] of Object.entries(cache)) {
    const path = [...reader.path, 'cache', key];
    if (key !== 'enabled') {
      problems.error(path, 'not supported by this version of pgtls');
    } else if (value === true) {
      problems.error(
        path,
        'true is refused: this version of pgtls has no query cache; expected false',
      );
    } else if (value !== false) {
      problems.error(path, `expected false, got ${describe(value)}`);
    }
  }
}
