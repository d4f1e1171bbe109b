/**
 * Which files a configuration's certificates come from: the one list of what is watched for changes.
 *
 * A new option that names a file is added here, and nowhere else.
 */
import type { AdminConfig } from '../config/schema.ts';
import type {
  BackendOptions,
  DataPlaneOptions,
  ListenerTlsOptions,
  RouteOptions,
} from '../data-plane/data-plane.ts';

/** Those of the admin server. */
export function adminFiles(admin: AdminConfig | null): string[] {
  const { identity = null, authTokenFile = null } = admin ?? {};
  const files = [identity?.certFile ?? null, identity?.keyFile ?? null, authTokenFile];
  return files.filter((file) => file !== null);
}

/** Absolute paths, each once. */
export function watchedFiles({ routes }: Pick<DataPlaneOptions, 'routes'>): string[] {
  const files = routes.flatMap((route) => filesOf(route)).filter((file) => file !== null);
  return [...new Set(files)];
}

function filesOf({ listener: { tls }, backend, backends }: RouteOptions): (string | null)[] {
  const all = [backend, ...backends.map((named) => named.backend)];
  return [...(tls === null ? [] : listenerFiles(tls)), ...all.flatMap(backendFiles)];
}

function listenerFiles(tls: ListenerTlsOptions): (string | null)[] {
  const identities = [tls, ...tls.hosts].flatMap(({ certFiles, keyFiles, ocspFiles }) => [
    ...certFiles,
    ...keyFiles,
    ...ocspFiles,
  ]);
  return [...identities, tls.caFile, tls.crlFile, tls.userMapFile, tls.ticketKeyFile];
}

function backendFiles(backend: BackendOptions): (string | null)[] {
  const password = backend.roles?.probePasswordFile ?? null;
  const roots = backend.sslrootcert === 'system' ? null : backend.sslrootcert;
  return backend.sslmode === 'disable'
    ? [password]
    : [password, roots, backend.sslcrl, backend.sslcert, backend.sslkey];
}
