import { verify as verifySignature } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { checkSecrets, refused, singleHeader } from '../../crypto/signature.ts';
import type { Delivery, Provider, Verification } from '../shared/provider.ts';
import { isCertificateUrl, NOT_PAYPALS, type PaypalCertificates } from './certificate.ts';

const ALGORITHMS: ReadonlyMap<string, string> = new Map([['SHA256withRSA', 'RSA-SHA256']]);
const TRANSMISSION_ID = /^\w[\w-]{0,99}$/;
const TRANSMISSION_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;

/**
 * The oldest delivery that is accepted. PayPal sets no limit and tries again for three days, perhaps with the time of the first
 * try. A limit is needed because the signature covers only a CRC-32 of the body: whoever has seen a signed delivery can easily
 * make another body with the same CRC-32.
 */
const OLDEST_MS = 4 * 24 * 3_600_000;
const FUTURE_MS = 300_000;

const transmissionHeader = (headers: Delivery['headers'], name: string): string =>
  singleHeader(headers, `paypal-${name}`) ?? '';

/** Why {@link transmissionVerifier} would refuse any body that came with these headers; null if it depends on the body. */
export function transmissionProblem(headers: Delivery['headers'], now: Date): string | null {
  const header = (name: string) => transmissionHeader(headers, name);
  const [time, encoded] = [header('transmission-time'), header('transmission-sig')];
  if (!header('transmission-id') || !time || !encoded || !header('cert-url')) {
    return 'a paypal header is missing or repeated';
  }
  if (!ALGORITHMS.has(header('auth-algo'))) return 'the algorithm is not one that PayPal uses';
  // A bar parts what is signed, so none of the parts may have one.
  if (!TRANSMISSION_ID.test(header('transmission-id'))) return 'the transmission id is malformed';
  if (!TRANSMISSION_TIME.test(time)) return 'the transmission time is malformed';
  const ageMs = now.getTime() - Date.parse(time);
  if (!(ageMs <= OLDEST_MS)) return 'the transmission time is too old';
  if (ageMs < -FUTURE_MS) return 'the transmission time is in the future';
  if (Buffer.from(encoded, 'base64').toString('base64') !== encoded) return 'the signature is not base64';
  return isCertificateUrl(header('cert-url')) ? null : NOT_PAYPALS;
}

/**
 * Makes the function that verifies PayPal's signature over the id and the time of the transmission, the webhook's id (the
 * source's secret) and the CRC-32 of the bytes. It answers `unavailable` if PayPal's certificate could not be fetched.
 */
export function transmissionVerifier(certificates: PaypalCertificates): Provider<Promise<Verification>>['verify'] {
  return async ({ rawBody, headers, from }, secrets, now) => {
    const problem = transmissionProblem(headers, now);
    if (problem !== null) return refused(problem);
    const header = (name: string) => transmissionHeader(headers, name);
    const found = await certificates.get(header('cert-url'), now, from);
    if (!found.ok) return found;
    const { publicKey } = found.certificate;
    const signature = Buffer.from(header('transmission-sig'), 'base64');
    return checkSecrets(secrets, (webhookId) => {
      const [id, time] = [header('transmission-id'), header('transmission-time')];
      const signed = Buffer.from(`${id}|${time}|${webhookId}|${crc32(rawBody)}`);
      return verifySignature(ALGORITHMS.get(header('auth-algo')), signed, publicKey, signature);
    });
  };
}
