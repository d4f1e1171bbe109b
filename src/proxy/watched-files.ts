/**
 * Which files a configuration's certificates come from: the one list of what is watched for changes.
 *
 * A new option that names a file is added here, and nowhere else.
 */
import type { DataPlaneOptions, RouteOptions } from '../data-plane/data-plane.ts';

/** Absolute paths, each once. */
export function watchedFiles({ routes }: Pick<DataPlaneOptions, 'routes'>): string[] {
  const files = routes.flatMap((route) => filesOf(route)).filter((file) => file !== null);
  return [...new Set(files)];
}

function filesOf({ listener: { tls }, backend }: RouteOptions): (string | null)[] {
  const listener =
    tls === null
      ? []
      : [...tls.certFiles, ...tls.keyFiles, tls.caFile, tls.crlFile, tls.userMapFile];
  const roots = backend.sslrootcert === 'system' ? null : backend.sslrootcert;
  return backend.sslmode === 'disable'
    ? listener
    : [...listener, roots, backend.sslcrl, backend.sslcert, backend.sslkey];
}
