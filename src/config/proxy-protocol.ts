/**
 * proxy_protocol and trusted_proxies.
 *
 * May import the other files of config/ only.
 */
import { formatAddress } from './address.ts';
import { readNetworks } from './networks.ts';
import type { BackendConfig, BindAddress, ListenerConfig } from './schema.ts';
import type { TableReader } from './table-reader.ts';

/** The entry of trusted_proxies that stands for unix sockets. */
const UNIX = 'unix:';

/** Reads both keys of a listener: with `require`, somebody must be trusted on every address. */
export function readListenerProxyProtocol(
  reader: TableReader,
  bindAddresses: readonly BindAddress[],
): Pick<ListenerConfig, 'proxyProtocol' | 'trustedProxies'> {
  const proxyProtocol = reader.choice('proxy_protocol', ['off', 'require'], 'off', {
    v1: 'a listener takes both versions',
    v2: 'a listener takes both versions',
  });
  const trustedProxies = readNetworks(reader, 'trusted_proxies', [UNIX]);
  if (proxyProtocol === 'off') {
    if (trustedProxies.length > 0) {
      const message = 'has no effect: proxy_protocol is "off"';
      reader.context.problems.warn(reader.pathOf('trusted_proxies'), message);
    }
    return { proxyProtocol, trustedProxies };
  }
  const isTrusted = {
    tcp: trustedProxies.some((entry) => entry !== UNIX),
    unix: trustedProxies.includes(UNIX),
  };
  const written = [reader.raw('trusted_proxies') ?? []].flat();
  // Entries that are wrong are reported already.
  const deserted =
    written.length === trustedProxies.length
      ? bindAddresses.find(({ kind }) => !isTrusted[kind])
      : undefined;
  if (deserted !== undefined) {
    const proxies =
      deserted.kind === 'unix' ? '"unix:"' : 'the load balancers, such as "10.0.0.0/8"';
    const key = reader.has('trusted_proxies') ? 'trusted_proxies' : 'proxy_protocol';
    const message = `nobody could connect to ${formatAddress(deserted)}: expected trusted_proxies to name ${proxies}`;
    reader.error(key, message);
  }
  return { proxyProtocol, trustedProxies };
}

/** Reads the key of a backend. A connection made ahead would have to tell a client that has not come yet. */
export function readBackendProxyProtocol(reader: TableReader): BackendConfig['proxyProtocol'] {
  const proxyProtocol = reader.choice('proxy_protocol', ['off', 'v2'], 'off', {
    v1: 'version 2 tells the same, and Unix-domain sockets, too',
    require: 'it is for listeners',
  });
  const warm = reader.raw('warm_connections');
  if (proxyProtocol === 'v2' && warm !== undefined && warm !== 0) {
    const message =
      'is refused beside warm_connections: a connection made ahead cannot begin with the address of a client that has ' +
      'not come yet; remove one of the two';
    reader.error('proxy_protocol', message);
  }
  return proxyProtocol;
}
