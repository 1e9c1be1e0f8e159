import { z } from 'zod';
import { Secret } from '../../crypto/secret.ts';
import { refuse } from '../../errors.ts';
import { EVENT_STATES } from '../../inbox/events.ts';
import { deliverTestEvent } from '../../inbox/test-delivery.ts';
import {
  addWebhookSecret,
  changeSource,
  createSource,
  findSource,
  removeWebhookSecret,
  sourcesOf,
} from '../../merchants/administration.ts';
import type { Source } from '../../merchants/source.ts';
import type { SourceKey } from '../../merchants/source-store.ts';
import { CUSTOMER_LINK_RULES, METADATA_RULES, PURPOSES, REFUND_POLICIES } from '../../payments/purpose.ts';
import { API_KEY_PATTERN, API_KEY_WANTED } from '../../providers/secret-form.ts';
import { defaultMetadataRule } from '../../providers/shared/metadata-rule.ts';
import { PROVIDER_NAMES } from '../../providers/shared/names.ts';
import { itemsOf, plainIdParams, text } from '../../views/fields.ts';
import { configuredResponse, recordResponse, sourceShape } from '../../views/source.ts';
import { adminRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { merchantParams } from './merchants.ts';

const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, { error: `wants ${values.slice(0, -1).join(', ')} or ${values.at(-1)}` });

const API_KEY_ERROR = API_KEY_WANTED;
const OBEYED_WHOLE = PROVIDER_NAMES.filter((provider) => defaultMetadataRule(provider) === 'all');
const METADATA_DEFAULTS = `all for ${OBEYED_WHOLE.join(', ')}, customer for every other provider`;

const fields = {
  name: text(200, 1),
  default_purpose: oneOf(PURPOSES).meta({ description: 'What a payment is for that does not say.' }),
  metadata: oneOf(METADATA_RULES).meta({
    description: `Which metadata of payments is obeyed: all, or customer (\`wallet_customer_id\` alone) where payers can write it themselves. A new source that names none: ${METADATA_DEFAULTS}.`,
  }),
  refunds: oneOf(REFUND_POLICIES).meta({
    description: 'What refunds do to the wallet; it counts for payments that are first heard of from now on.',
  }),
  customer_link_rule: oneOf(CUSTOMER_LINK_RULES).meta({
    description:
      "Whose a payment is that names no customer. create: the one linked with the provider's customer, made if need be; linked: only one that is linked already; named: nobody's.",
  }),
  enabled: z.boolean({ error: 'wants true or false' }).meta({ description: 'False: its deliveries are turned away.' }),
};
const webhookSecret = text(500, 1).meta({ description: "What the provider's dashboard shows as the signing secret." });
const apiKey = z
  .string({ error: API_KEY_ERROR })
  .regex(API_KEY_PATTERN, { error: API_KEY_ERROR })
  .meta({ description: "A key of the provider's API that may read payments, for reconciliation." });

const tag = 'Administration';
const path = '/admin/merchants/{merchant_id}/sources';
const sourceParams = merchantParams.extend(plainIdParams('source_id').shape);
const response = { description: 'The source.', schema: sourceShape };

function keyOf(params: z.output<typeof sourceParams>): SourceKey {
  return { merchantId: params.merchant_id, sourceId: params.source_id };
}

export function findConfigured(
  { sources }: Pick<Services, 'sources'>,
  { merchantId, sourceId }: SourceKey,
): Source | null {
  return sources.configured(merchantId).find((source) => source.sourceId === sourceId) ?? null;
}

/** @throws {RefusalError} CONFLICT for a source of the environment */
export function requireRecord(services: Pick<Services, 'sources'>, key: SourceKey): SourceKey {
  const configured = findConfigured(services, key);
  if (configured === null) return key;
  const variables = `${configured.provider.toUpperCase()}_…`;
  return refuse('CONFLICT', `The environment configures this source. Change its ${variables} there, and restart.`);
}

function note({ logger }: Services, { merchantId, sourceId }: SourceKey, changed: object, message: string): void {
  logger.info({ who: 'admin', merchantId, sourceId, ...changed }, message);
}

const create = adminRoute({
  method: 'post',
  path,
  tag,
  summary: "Add a merchant's account at a provider",
  params: merchantParams,
  body: z.strictObject({
    provider: oneOf(PROVIDER_NAMES),
    name: fields.name,
    mode: oneOf(['test', 'live']).nullish().meta({ description: "The merchant's; another is refused." }),
    webhook_secret: webhookSecret,
    api_key: apiKey.nullish(),
    default_purpose: fields.default_purpose.default('topup'),
    metadata: fields.metadata.optional(),
    refunds: fields.refunds.default('auto'),
    customer_link_rule: fields.customer_link_rule.default('create'),
    enabled: fields.enabled.default(true),
  }),
  response,
  errors: ['CONFLICT', 'NOT_IMPLEMENTED'],
  async handle({ services, params, body }) {
    const { provider, name, refunds, enabled } = body;
    const made = await createSource(services, params.merchant_id, {
      provider,
      name,
      mode: body.mode ?? null,
      webhookSecret: new Secret(body.webhook_secret),
      apiKey: body.api_key == null ? null : new Secret(body.api_key),
      defaultPurpose: body.default_purpose,
      metadata: body.metadata ?? null,
      refunds,
      customerLinkRule: body.customer_link_rule,
      enabled,
    });
    const { defaultPurpose, metadata, customerLinkRule } = made;
    const hasApiKey = made.secrets.some((secret) => secret.purpose === 'api');
    const changed = { provider, defaultPurpose, metadata, refunds, customerLinkRule, enabled, hasApiKey };
    note(services, made, changed, 'a source was created');
    return recordResponse(made);
  },
});

const list = adminRoute({
  method: 'get',
  path,
  tag,
  summary: 'List the sources of a merchant: those of the environment, then the others, oldest first',
  params: merchantParams,
  response: { description: 'The sources.', schema: itemsOf(sourceShape) },
  async handle({ services, params: { merchant_id: merchantId } }) {
    const records = await sourcesOf(services, merchantId);
    const configured = services.sources.configured(merchantId);
    return { items: [...configured.map(configuredResponse), ...records.map(recordResponse)] };
  },
});

const retrieve = adminRoute({
  method: 'get',
  path: `${path}/{source_id}`,
  tag,
  summary: 'Retrieve a source',
  params: sourceParams,
  response,
  async handle({ services, params }) {
    const configured = findConfigured(services, keyOf(params));
    if (configured !== null) return configuredResponse(configured);
    return recordResponse(await findSource(services, keyOf(params)));
  },
});

const update = adminRoute({
  method: 'patch',
  path: `${path}/{source_id}`,
  tag,
  summary: 'Change a source; what is left out stays',
  params: sourceParams,
  body: z.strictObject({ ...fields, api_key: apiKey.nullable() }).partial(),
  response,
  errors: ['CONFLICT', 'NOT_IMPLEMENTED'],
  async handle({ services, params, body }) {
    const { name, metadata, refunds, enabled } = body;
    const { default_purpose: defaultPurpose, customer_link_rule: customerLinkRule, api_key: newApiKey } = body;
    const key = requireRecord(services, keyOf(params));
    const settings = {
      ...(defaultPurpose === undefined ? {} : { defaultPurpose }),
      ...(metadata === undefined ? {} : { metadata }),
      ...(refunds === undefined ? {} : { refunds }),
      ...(customerLinkRule === undefined ? {} : { customerLinkRule }),
      ...(enabled === undefined ? {} : { enabled }),
    };
    const secret = newApiKey === undefined ? {} : { apiKey: newApiKey === null ? null : new Secret(newApiKey) };
    const naming = name === undefined ? {} : { name };
    const changed = await changeSource(services, key, { ...naming, ...settings, ...secret });
    const apiKeyIs = newApiKey === undefined ? {} : { apiKey: newApiKey === null ? 'removed' : 'replaced' };
    note(services, key, { ...settings, ...apiKeyIs }, 'a source was changed');
    return recordResponse(changed);
  },
});

const addSecret = adminRoute({
  method: 'post',
  path: `${path}/{source_id}/webhook-secrets`,
  tag,
  summary: 'Add a webhook secret as the newest; the others go on to be accepted until they are removed',
  params: sourceParams,
  body: z.strictObject({ webhook_secret: webhookSecret }),
  response,
  errors: ['CONFLICT', 'NOT_IMPLEMENTED'],
  async handle({ services, params, body }) {
    const key = requireRecord(services, keyOf(params));
    const changed = await addWebhookSecret(services, key, new Secret(body.webhook_secret));
    const newest = changed.secrets.find((secret) => secret.purpose === 'webhook');
    note(services, key, { secretId: newest?.secretId }, 'a webhook secret was added');
    return recordResponse(changed);
  },
});

const removeSecret = adminRoute({
  method: 'delete',
  path: `${path}/{source_id}/webhook-secrets/{secret_id}`,
  tag,
  summary: 'Remove a webhook secret that the provider no longer signs with',
  params: sourceParams.extend(plainIdParams('secret_id').shape),
  response,
  errors: ['CONFLICT'],
  async handle({ services, params }) {
    const key = requireRecord(services, keyOf(params));
    const changed = await removeWebhookSecret(services, key, params.secret_id);
    note(services, key, { secretId: params.secret_id }, 'a webhook secret was removed');
    return recordResponse(changed);
  },
});

const testDelivery = adminRoute({
  method: 'post',
  path: `${path}/{source_id}/test`,
  tag,
  summary: 'Deliver a harmless event to a source, signed with its newest secret as the provider signs',
  params: sourceParams,
  response: {
    description: 'What became of it; `ignored` is as it should be, since it is of a type that moves no money.',
    schema: z.strictObject({
      event_id: z.string(),
      status: z.enum(EVENT_STATES),
      detail: z.string().nullable(),
    }),
  },
  errors: ['CONFLICT', 'NOT_IMPLEMENTED'],
  async handle({ services, params }) {
    const key = keyOf(params);
    const event = await deliverTestEvent(services, key);
    note(services, key, { eventId: event.eventId }, 'a test event was delivered');
    return { event_id: event.eventId, status: event.state, detail: event.detail };
  },
});

export const adminSourceRoutes: readonly Route[] = [
  create,
  list,
  retrieve,
  update,
  addSecret,
  removeSecret,
  testDelivery,
];
