import { lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { buildConnector } from 'undici';

/**
 * Keeps merchants' endpoint URLs from reaching into our own network (server-side request forgery). The address is checked
 * when the connection is made, so that a name which resolves to another address the second time is refused too.
 */

/** The endpoint's host name resolves to no address that may be called. */
export class RefusedAddressError extends Error {
  readonly code = 'ADDRESS_REFUSED';

  constructor() {
    super('the host has no public address');
    this.name = 'RefusedAddressError';
  }
}

const GLOBAL_UNICAST_V6 = ipaddr.IPv6.parseCIDR('2000::/3');

/**
 * True for an address that everybody on the internet may reach. Everything with a special use is refused, also the
 * ranges that embed an IPv4 address (mapped, NAT64, 6to4, Teredo): what they lead to is not visible here.
 */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  return !('parts' in parsed) || parsed.match(GLOBAL_UNICAST_V6);
}

/** The literal address in a URL's host name, or null if it is a name. The URL parser has normalised octal and the like. */
export function literalAddress(hostname: string): string | null {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 ? null : bare;
}

/** Resolves a name to its public addresses only. */
export function publicLookup(resolve: typeof systemLookup = systemLookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const allowed = addresses.filter(({ address }) => isPublicAddress(address));
      const [first] = allowed;
      if (first === undefined) return callback(new RefusedAddressError(), []);
      if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

/** Opens connections to public addresses alone, unless private ones are allowed as well. */
export function guardedConnector(
  allowPrivate: boolean,
  timeoutMs: number,
  lookup: LookupFunction = publicLookup(),
): buildConnector.connector {
  // HTTP/2 would gain nothing for single small requests.
  const shared = { timeout: timeoutMs, allowH2: false };
  if (allowPrivate) return buildConnector(shared);
  const connect = buildConnector({ ...shared, lookup });
  return (options, callback) => {
    // A literal address is connected to without a look-up, so it is checked here.
    const literal = literalAddress(options.hostname);
    if (literal !== null && !isPublicAddress(literal)) callback(new RefusedAddressError(), null);
    else connect(options, callback);
  };
}
