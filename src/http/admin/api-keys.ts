import { z } from 'zod';
import { apiKeysOf, createApiKey, endApiKey, rotateApiKey } from '../../merchants/administration.ts';
import { keyResponse, keyScope, keyShape, newKeyResponse, newKeyShape } from '../../views/api-key.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { itemsOf, moment, plainIdParams, text } from '../../views/fields.ts';
import { adminRoute, type Route } from '../kit/route.ts';
import { merchantParams, OPERATOR } from './merchants.ts';

const DAY_SECONDS = 86_400;
const MAX_GRACE_SECONDS = 30 * DAY_SECONDS;
const GRACE_ERROR = `wants a whole number of seconds from 0 to ${MAX_GRACE_SECONDS}`;

const tag = 'Administration';
const path = '/admin/merchants/{merchant_id}/api-keys';
const keyParams = merchantParams.extend(plainIdParams('key_id').shape);

const create = adminRoute({
  method: 'post',
  path,
  tag,
  summary: 'Create an API key of a merchant',
  description: 'The answer shows the key this once; only its hash is kept.',
  params: merchantParams,
  body: z
    .strictObject({
      name: text(200, 1),
      scopes: z
        .array(keyScope, { error: 'wants a list of read and write' })
        .min(1, { error: 'wants read, write or both' })
        .max(2, { error: 'wants each scope once' })
        .refine((list) => new Set(list).size === list.length, { error: 'wants each scope once' })
        .meta({ uniqueItems: true }),
      expires_at: moment.nullish().meta({ description: 'When it ends by itself; never unless given.' }),
    })
    .meta({ examples: [{ name: 'Checkout server', scopes: ['read', 'write'], expires_at: EXAMPLE.yearLater }] }),
  response: { description: 'The key.', schema: newKeyShape },
  errors: ['CONFLICT'],
  async handle({ services, params, body: { name, scopes, expires_at: expiresAt = null } }) {
    const made = await createApiKey(services, params.merchant_id, { name, scopes, expiresAt });
    const { merchantId, keyId } = made;
    services.logger.info({ who: 'admin', merchantId, keyId, scopes, expiresAt }, 'an API key was created');
    return newKeyResponse(made);
  },
});

const list = adminRoute({
  method: 'get',
  path,
  tag,
  summary: 'List the API keys of a merchant, newest first',
  description: 'Those that have ended included. No key is shown, only how it ends.',
  params: merchantParams,
  response: { description: 'The keys.', schema: itemsOf(keyShape) },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { operatorReaders }, params }) {
    const keys = await operatorReaders.read(OPERATOR, (db) => apiKeysOf(db, params.merchant_id));
    return { items: keys.map(keyResponse) };
  },
});

const revoke = adminRoute({
  method: 'delete',
  path: `${path}/{key_id}`,
  tag,
  summary: 'Revoke an API key',
  description: 'It takes effect within ten seconds in every process. The record stays.',
  params: keyParams,
  response: { description: 'The key, revoked.', schema: keyShape },
  async handle({ services, params: { merchant_id: merchantId, key_id: keyId } }) {
    const revoked = await endApiKey(services, { merchantId, keyId });
    services.logger.info({ who: 'admin', merchantId, keyId }, 'an API key was revoked');
    return keyResponse(revoked);
  },
});

const rotate = adminRoute({
  method: 'post',
  path: `${path}/{key_id}/rotate`,
  tag,
  summary: 'Rotate an API key',
  description:
    'Makes a key of the same name and scopes; the old one is good until its grace ends. The answer shows the new key this once.',
  params: keyParams,
  body: z
    .strictObject({
      grace_seconds: z
        .int({ error: GRACE_ERROR })
        .min(0, { error: GRACE_ERROR })
        .max(MAX_GRACE_SECONDS, { error: GRACE_ERROR })
        .default(DAY_SECONDS)
        .meta({ description: 'For how long the old key is good; a day unless given.' }),
    })
    .meta({ examples: [{ grace_seconds: DAY_SECONDS }] }),
  bodyOptional: true,
  response: { description: 'The new key.', schema: newKeyShape },
  errors: ['CONFLICT'],
  async handle({ services, params, body: { grace_seconds: graceSeconds } }) {
    const old = { merchantId: params.merchant_id, keyId: params.key_id };
    const made = await rotateApiKey(services, old, graceSeconds);
    const { merchantId, keyId } = made;
    const log = { who: 'admin', merchantId, keyId, oldKeyId: old.keyId, graceSeconds };
    services.logger.info(log, 'an API key was rotated');
    return newKeyResponse(made);
  },
});

export const adminApiKeyRoutes: readonly Route[] = [create, list, revoke, rotate];
