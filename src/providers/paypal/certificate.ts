import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { FetchShares } from './fetch-shares.ts';
import { PAYPAL_AUTHORITIES } from './intermediates.ts';

/*
 * PayPal signs with a certificate that it names in a header. A forger could write any address there. So the address must be one
 * of PayPal's, and a public authority must have issued the certificate to PayPal's messaging: then it does not matter who sent
 * the header.
 */

/** Live and sandbox. The id of the webhook, which is signed, keeps the two apart. */
const CERTIFICATE_URL =
  /^https:\/\/(?:api|api-m)(?:\.sandbox)?\.paypal\.com\/v1\/notifications\/certs\/[A-Za-z0-9_-]{1,100}$/;
/** The form of the common name; PayPal's own packages check its beginning and its end. */
const COMMON_NAME = /^messageverificationcerts(?:\.[a-z0-9-]+)*\.paypal\.com$/;

const TOO_MANY = 'too many unknown certificates were named from its network';
export const NOT_PAYPALS = "the certificate's address is not one of PayPal's";

/** Whether a certificate of PayPal's may be at this address. */
export function isCertificateUrl(url: string): boolean {
  return CERTIFICATE_URL.test(url);
}

const FETCH_TIMEOUT_MS = 3_000;
/** The most bytes of a file of certificates; a usual one has a few kilobytes. */
const MAX_BYTES = 65_536;
/** More than the chain from PayPal's certificate to its authority. */
const MAX_CHAIN_LENGTH = 5;
const MIN_RSA_BITS = 2048;
/** The most certificates that are kept. PayPal uses one for months in each of its environments. */
const MAX_CACHED = 16;
/** A certificate older than this is fetched again in the background, while it is still used … */
const REFRESH_AFTER_MS = 24 * 3_600_000;
/** … and it is not used any more if no fetch has succeeded for this long. */
const FORGET_AFTER_MS = 7 * 24 * 3_600_000;

/**
 * Answers that say there is no such certificate. PayPal does not document what it answers to a name that it never gave, and people have
 * reported that for a while a right name was answered with something that is no certificate (paypal/PayPal-Python-SDK#130). So
 * a delivery may be refused for it that is PayPal's own. That loses nothing: PayPal sends again after any answer but 2xx, 25 times in three
 * days (https://developer.paypal.com/api/rest/webhooks/rest/), the answer is not remembered, and each try asks anew. If all
 * are refused, ChokinDeliveriesRefused says so.
 */
const NOT_THERE: ReadonlySet<number> = new Set([400, 404, 410]);

export type CertificateResult =
  | { readonly ok: true; readonly certificate: X509Certificate }
  | { readonly ok: false; readonly reason: string; readonly unavailable?: true; readonly isLimited?: true };

export interface CertificateOptions {
  /** Used in place of the built-in `fetch`. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** The trusted authorities, in PEM; unless given, those of Mozilla that come with Node. */
  readonly trustedRoots?: readonly string[];
  /** Further trusted authorities, in PEM, since PayPal may send its certificate without the one that issued it. */
  readonly authorities?: readonly string[];
}

interface Cached {
  readonly certificate: X509Certificate;
  readonly fetchedAt: Date;
}

/** PayPal's certificates, each fetched once and then kept. */
export class PaypalCertificates {
  readonly #fetch: NonNullable<CertificateOptions['fetch']>;
  readonly #trusted: readonly string[];
  #roots: readonly X509Certificate[] | null = null;
  readonly #cached = new Map<string, Cached>();
  readonly #inFlight = new Map<string, Promise<CertificateResult>>();
  readonly #shares = new FetchShares();

  constructor(options: CertificateOptions = {}) {
    this.#fetch = options.fetch ?? ((url, init) => fetch(url, init));
    this.#trusted = [...(options.trustedRoots ?? rootCertificates), ...(options.authorities ?? PAYPAL_AUTHORITIES)];
  }

  /**
   * The certificate at `url`, if it is PayPal's and valid at `now`. Concurrent requests share one fetch. Never throws: a
   * certificate that PayPal could not give is `unavailable`, and the next call tries again. One that PayPal says there is not,
   * and an unknown one beyond the share of its network (`isLimited`), is refused: both are invented, most likely, and if not
   * PayPal sends again.
   * @param from the network that named the certificate
   */
  async get(url: string, now: Date, from = ''): Promise<CertificateResult> {
    if (!isCertificateUrl(url)) return { ok: false, reason: NOT_PAYPALS };
    const cached = this.#cached.get(url);
    const ageMs = cached === undefined ? Number.POSITIVE_INFINITY : now.getTime() - cached.fetchedAt.getTime();
    if (cached === undefined || ageMs > FORGET_AFTER_MS)
      return this.#fetchOnce(url, now, cached === undefined ? from : null);
    if (ageMs > REFRESH_AFTER_MS) void this.#fetchOnce(url, now, null);
    if (!isValidAt(cached.certificate, now)) return { ok: false, reason: 'the certificate is not valid at this time' };
    return { ok: true, certificate: cached.certificate };
  }

  /** @param from whose share of fetches it counts for; null for a name that was good before, which is always fetched */
  #fetchOnce(url: string, now: Date, from: string | null): Promise<CertificateResult> {
    const shared = this.#inFlight.get(url);
    if (shared !== undefined) return shared;
    const giveBack = from === null ? () => {} : this.#shares.take(from, now);
    if (giveBack === null) {
      return Promise.resolve({ ok: false, reason: TOO_MANY, isLimited: true });
    }
    const fetching = this.#fetchNow(url, now).finally(() => {
      this.#inFlight.delete(url);
      giveBack();
    });
    this.#inFlight.set(url, fetching);
    return fetching;
  }

  async #fetchNow(url: string, now: Date): Promise<CertificateResult> {
    const chain = await this.#download(url);
    if (chain === 'none') return { ok: false, reason: 'PayPal has no certificate at the address' };
    if (chain === null) return { ok: false, reason: 'the certificate could not be fetched', unavailable: true };
    this.#roots ??= this.#trusted.map((pem) => new X509Certificate(pem));
    const result = checkChain(chain, this.#roots, now);
    // Only trusted certificates are kept, so that invented addresses cannot push them out.
    if (result.ok) this.#keep(url, { certificate: result.certificate, fetchedAt: now });
    return result;
  }

  #keep(url: string, entry: Cached): void {
    this.#cached.delete(url);
    this.#cached.set(url, entry);
    const [oldest] = this.#cached.keys();
    if (this.#cached.size > MAX_CACHED && oldest !== undefined) this.#cached.delete(oldest);
  }

  /** The file; `none` if PayPal says that there is no such file, null if it could not be fetched. */
  async #download(url: string): Promise<string | null> {
    try {
      const response = await this.#fetch(url, { redirect: 'error', signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
      if (!response.ok || response.body === null) {
        await response.body?.cancel();
        return NOT_THERE.has(response.status) ? 'none' : null;
      }
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of response.body) {
        length += chunk.length;
        if (length > MAX_BYTES) return null;
        chunks.push(chunk);
      }
      return Buffer.concat(chunks).toString('latin1');
    } catch {
      return null;
    }
  }
}

/**
 * Reads a file of certificates, PayPal's first and perhaps the issuers after it, and follows them up to an authority that is
 * trusted at `now`.
 */
export function checkChain(pem: string, roots: readonly X509Certificate[], now: Date): CertificateResult {
  try {
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length > MAX_CHAIN_LENGTH) return { ok: false, reason: 'the chain of certificates is too long' };
    const [certificate, ...intermediates] = blocks.map((block) => new X509Certificate(block));
    if (certificate === undefined) return { ok: false, reason: 'there is no certificate at the address' };
    if (!isOfPaypal(certificate)) return { ok: false, reason: "the certificate is not of PayPal's messaging" };
    const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
    if (asymmetricKeyType !== 'rsa' || (asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) {
      return { ok: false, reason: "the certificate's key is not RSA, or is too short" };
    }
    const isValid = (one: X509Certificate) => isValidAt(one, now);
    if (!isValid(certificate)) return { ok: false, reason: 'the certificate is not valid at this time' };
    if (reachesRoot(certificate, intermediates.filter(isValid), roots.filter(isValid)))
      return { ok: true, certificate };
    const issuer = nameIn(certificate.issuer) ?? 'nobody that it names';
    return { ok: false, reason: `the certificate is not issued by an authority that is trusted now, but by ${issuer}` };
  } catch {
    return { ok: false, reason: 'the certificate cannot be read' };
  }
}

function isOfPaypal(certificate: X509Certificate): boolean {
  const name = nameIn(certificate.subject);
  return name !== null && COMMON_NAME.test(name);
}

/** The one common name of a subject or issuer, as plain text for a log. */
function nameIn(distinguished: string): string | null {
  const names = distinguished.split('\n').flatMap((line) => (line.startsWith('CN=') ? [line.slice(3)] : []));
  const [name, ...others] = names;
  return name === undefined || others.length > 0 ? null : name.replace(/[^\w .,-]/g, '?').slice(0, 100);
}

/** Whether one of the roots issued the certificate, or issued one of the intermediates that lead to it; all are valid now. */
function reachesRoot(
  certificate: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): boolean {
  if (roots.some((root) => isIssuedBy(certificate, root))) return true;
  return intermediates.some((issuer) => {
    const others = intermediates.filter((other) => other !== issuer);
    return isIssuedBy(certificate, issuer) && reachesRoot(issuer, others, roots);
  });
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isValidAt(certificate: X509Certificate, now: Date): boolean {
  return certificate.validFromDate <= now && now <= certificate.validToDate;
}
