/**
 * What a configuration wants listened on: one plan for each bind address, with a key that finds the same socket again in the next
 * configuration and in a successor process.
 */
import { formatAddress } from '../config/address.ts';
import type { BindAddress, Config, ProxyConfig } from '../config/schema.ts';
import { PgtlsError } from '../errors.ts';
import { createAccessList } from '../listener/access.ts';
import { ConnectionRate } from '../listener/connection-rate.ts';
import { createTrustedProxies, type GateOptions } from '../listener/gate.ts';
import type { ListenerSettings } from '../listener/listener.ts';
import { NegotiatingClients } from '../listener/negotiating-clients.ts';

/** One listener, not bound yet. */
export interface ListenerPlan extends ListenerSettings {
  /** The address as configured; where the port is 0, of this route's addresses alone. */
  readonly key: string;
  readonly ipv6Only: boolean;
  readonly backlog: number;
  readonly reusePort: boolean;
}

/** In the order of the file. Throws PGTLS_CONFIG_INVALID for an access list that does not hold. */
export function listenerPlans(config: Config, idOf: (name: string) => number): ListenerPlan[] {
  const all = config.proxies.flatMap(({ listener }) => listener.bindAddresses);
  return config.proxies.flatMap((proxy) => {
    const gate = gateOf(proxy);
    const { bindAddresses, sslmode, sslnegotiation, listenBacklog, soReuseport } = proxy.listener;
    return bindAddresses.map((address, index) => ({
      key: keyOf(address, proxy.name, index),
      routeId: idOf(proxy.name),
      routeName: proxy.name,
      address,
      ipv6Only: isIpv6WildcardBesideIpv4(address, all),
      backlog: listenBacklog,
      reusePort: soReuseport,
      maxNegotiating: config.maxClientConn,
      policy: { sslmode, sslnegotiation },
      ...gate,
      loginTimeoutMillis: config.clientLoginTimeoutMillis,
    }));
  });
}

function keyOf(address: BindAddress, routeName: string, index: number): string {
  const text = formatAddress(address);
  return address.kind === 'tcp' && address.port === 0 ? `${text}#${index} of ${routeName}` : text;
}

/** One for all listeners of a route, so that an address has one rate and one count. */
function gateOf({ name, listener }: ProxyConfig): GateOptions {
  const { connRatePerIp, maxClientConnPerIp } = listener;
  try {
    return {
      access: createAccessList(listener.allow, listener.deny),
      rate: connRatePerIp === 0 ? null : new ConnectionRate(connRatePerIp),
      negotiating: maxClientConnPerIp === 0 ? null : new NegotiatingClients(maxClientConnPerIp),
      proxies:
        listener.proxyProtocol === 'require' ? createTrustedProxies(listener.trustedProxies) : null,
    };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const keys = 'allow/deny/trusted_proxies';
    throw new PgtlsError('PGTLS_CONFIG_INVALID', `proxy "${name}", ${keys}: ${reason}`, { cause });
  }
}

/** `[::]` takes IPv4, too, unless the configuration binds `0.0.0.0` to the same port itself. */
function isIpv6WildcardBesideIpv4(address: BindAddress, all: readonly BindAddress[]): boolean {
  return (
    address.kind === 'tcp' &&
    address.host === '::' &&
    address.port !== 0 &&
    all.some(
      (other) => other.kind === 'tcp' && other.host === '0.0.0.0' && other.port === address.port,
    )
  );
}
