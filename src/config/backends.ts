/**
 * Reads `[proxy.backends.NAME]` and `[[proxy.route]]`: other backends, and who goes to them. May import the other files of config/
 * only.
 */
import { readBackend } from './backend.ts';
import type { NamedBackendConfig, RouteRuleConfig } from './schema.ts';
import { nearest } from './suggestion.ts';
import { describe, isTable, type Located, TableReader } from './table-reader.ts';

/** The backends beside `[proxy.backend]`, and the rules that lead to them. */
export interface ReadBackends {
  readonly backends: readonly NamedBackendConfig[];
  readonly routes: readonly RouteRuleConfig[];
}

/** A name that can stand in a key path without quotes. */
const NAME = /^[\w-]{1,64}$/;

/** Reads both; `namedByHosts` are the backends that the listener's hosts name. */
export function readBackends(proxy: TableReader, namedByHosts: readonly Located[]): ReadBackends {
  const backends = readNamedBackends(proxy);
  const routes: RouteRuleConfig[] = [];
  const named = [...namedByHosts];
  for (const reader of proxy.tables('route', 'route')) {
    const { rule, backend } = readRule(reader);
    if (rule !== null && backend !== null) {
      routes.push(rule);
      named.push(backend);
    }
  }
  checkNames(proxy, backends, named);
  return { backends, routes };
}

function readNamedBackends(proxy: TableReader): NamedBackendConfig[] {
  const table = proxy.raw('backends');
  if (table === undefined) {
    return [];
  }
  if (!isTable(table)) {
    proxy.error('backends', `expected tables [proxy.backends.NAME], got ${describe(table)}`);
    return [];
  }
  return Object.entries(table).flatMap(([name, value]) => {
    const path = [...proxy.path, 'backends', name];
    const { problems } = proxy.context;
    if (!isTable(value)) {
      problems.error(path, `expected a table [proxy.backends.${name}], got ${describe(value)}`);
      return [];
    }
    if (!NAME.test(name)) {
      problems.error(path, 'expected a name of at most 64 letters, digits, "-" and "_"');
    }
    return [{ name, backend: readBackend(new TableReader('backend', value, path, proxy.context)) }];
  });
}

function readRule(reader: TableReader): {
  rule: RouteRuleConfig | null;
  backend: Located | null;
} {
  reader.checkKeys();
  const [database, user, backend] = [
    reader.string('database'),
    reader.string('user'),
    reader.string('backend'),
  ];
  if (!reader.has('database') && !reader.has('user')) {
    reader.context.problems.error(reader.path, 'expected "database", "user" or both');
  }
  if (!reader.has('backend')) {
    reader.error('backend', 'missing; expected the name of one of [proxy.backends]');
  }
  return backend === null
    ? { rule: null, backend: null }
    : {
        rule: { database, user, backend },
        backend: { text: backend, path: reader.pathOf('backend') },
      };
}

function checkNames(
  proxy: TableReader,
  backends: readonly NamedBackendConfig[],
  named: readonly Located[],
): void {
  const { problems, hasRouteHook } = proxy.context;
  const names = backends.map(({ name }) => name);
  for (const { text, path } of named) {
    if (!names.includes(text)) {
      const message =
        names.length === 0
          ? `names a backend, but there is no [proxy.backends] at all; expected a table [proxy.backends.${text}]`
          : `there is no [proxy.backends.${text}]; known: ${names.join(', ')}`;
      problems.error(path, message, nearest(text, names));
    }
  }
  for (const name of names) {
    if (!hasRouteHook && !named.some(({ text }) => text === name)) {
      const message = 'is used by no [[proxy.listener.host]] and no [[proxy.route]]';
      problems.warn([...proxy.path, 'backends', name], message);
    }
  }
}
