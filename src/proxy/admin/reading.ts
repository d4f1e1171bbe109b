/**
 * One look at the running proxy: the data plane's snapshot, with what else is known of each route.
 */
import { formatAddress } from '../../config/address.ts';
import type { BackendAddress, Config } from '../../config/schema.ts';
import type { DataPlaneSnapshot } from '../../data-plane/data-plane.ts';
import type { RunningView } from './running.ts';

/** One route at that moment. */
export interface RouteReading extends RouteSnapshot {
  readonly name: string;
  /** Of its listeners, as bound. */
  readonly addresses: readonly string[];
  /** Connections whose socket is still Node's. */
  readonly negotiating: number;
  /** Of all its backends, as configured. */
  readonly backends: readonly string[];
}

/** The proxy at that moment. */
export interface Reading extends Omit<DataPlaneSnapshot, 'routes'> {
  readonly maxClientConn: number;
  readonly routes: readonly RouteReading[];
}

type RouteSnapshot = DataPlaneSnapshot['routes'][number];

/** Looks once. Throws when the data plane is closed. */
export function readingOf(running: RunningView): Reading {
  const { proxies, maxClientConn } = running.config();
  const listeners = running.listeners();
  const { routes, ...all } = running.snapshot();
  const readings = routes.flatMap((route): RouteReading[] => {
    const name = running.routeName(route.routeId);
    const proxy = proxies.find((candidate) => candidate.name === name);
    if (proxy === undefined) {
      return [];
    }
    const own = listeners.filter(({ routeId }) => routeId === route.routeId);
    const addresses = own.map(({ address }) => address);
    const negotiating = own.reduce((sum, { negotiatingCount }) => sum + negotiatingCount, 0);
    const backends = backendAddresses([proxy]).map(formatAddress);
    return [{ ...route, name: proxy.name, addresses, negotiating, backends }];
  });
  return { ...all, maxClientConn, routes: readings };
}

/** Every address that sessions of these routes may go to. */
export function backendAddresses(proxies: Config['proxies']): BackendAddress[] {
  const backends = proxies.flatMap((proxy) => [
    proxy.backend,
    ...proxy.backends.map((named) => named.backend),
  ]);
  return backends.flatMap(({ addresses }) => addresses);
}
