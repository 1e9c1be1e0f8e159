import type { BodyOf } from './contract.ts';
import { forgetHeaders } from './delivery.ts';
import { notFound } from './refusals.ts';
import {
  checkApplicationAlong,
  checkApplicationName,
  checkControlCharacters,
  checkMetadata,
  checkThrottleRate,
  checkUid,
  checkUnique,
} from './rules.ts';
import { findBy, newSvixId, pageOf, type StoredApplication } from './store.ts';
import { type Handlers, type SomeOf, type SvixWorld, theApplication } from './world.ts';

type ApplicationIn = BodyOf<'application.create'>;

/** v1/endpoints/application.rs and auth.rs. */
export function applicationHandlers(world: SvixWorld) {
  return {
    'application.create': ({ query, body }) => {
      checkApplication(body);
      const known = body.uid ? findApplication(world, body.uid) : undefined;
      if (known !== undefined) {
        checkUnique(query.get_if_exists !== true, 'An application with that id or uid already exists');
        // What else the request says of it is not looked at.
        return { status: 200, body: showApplication(known) };
      }
      return { status: 201, body: showApplication(addApplication(world, body)) };
    },
    'application.list': ({ query }) => {
      const by = {
        prefix: 'app_',
        idOf: ({ id }: StoredApplication) => id,
        order: 'ascending' as const,
        show: showApplication,
        pageSize: world.pageSize,
      };
      return { status: 200, body: pageOf(world.applications.values(), query, by) };
    },
    'application.get': ({ params }) => ({ status: 200, body: showApplication(theApplication(world, params)) }),
    'application.patch': ({ params, body }) => {
      const application = theApplication(world, params);
      checkApplicationName(body.name);
      checkThrottleRate(body.throttleRate, 'Application');
      checkApplication(body);
      if (body.uid) {
        const other = [...world.applications.values()].find(({ uid }) => uid === body.uid);
        checkUnique(other !== undefined && other !== application);
      }
      world.applications.delete(application.uid ?? application.id);
      Object.assign(application, body, { updatedAt: new Date() });
      world.applications.set(application.uid ?? application.id, application);
      forgetHeaders(application);
      return { status: 200, body: showApplication(application) };
    },
    'application.delete': ({ params }) => {
      const application = theApplication(world, params);
      world.applications.delete(application.uid ?? application.id);
      return { status: 204, body: null };
    },
    'authentication.appPortalAccess': ({ params: [idOrUid = ''], body }) => {
      if (findApplication(world, idOrUid) === undefined) makeAlong(world, idOrUid, body.application);
      // The open-source server has no portal: it answers with a page that says so.
      return { status: 200, body: { url: 'https://docs.svix.com/app-portal/oss', token: `appsk_${newSvixId('')}` } };
    },
  } satisfies Partial<Handlers>;
}

export function findApplication({ applications }: SvixWorld, idOrUid: string): StoredApplication | undefined {
  return findBy(applications, idOrUid, ({ id }) => id === idOrUid);
}

/** message.rs and auth.rs make an application that is not there if the request says what it is. */
export function makeAlong(
  world: SvixWorld,
  idOrUid: string,
  body: ApplicationIn | null | undefined,
): StoredApplication {
  if (!body) throw notFound('Application not found');
  checkApplication(body);
  checkApplicationAlong(idOrUid, body.uid);
  return addApplication(world, body);
}

function addApplication({ applications }: SvixWorld, body: ApplicationIn): StoredApplication {
  const { uid = null, name, throttleRate = null, metadata = {} } = body;
  const id = newSvixId('app_');
  const now = new Date();
  const application: StoredApplication = {
    ...{ id, uid, name, throttleRate, metadata },
    endpoints: new Map(),
    messages: new Map(),
    attempts: [],
    createdAt: now,
    updatedAt: now,
    headersKnown: null,
  };
  applications.set(uid ?? id, application);
  return application;
}

function checkApplication({ uid, name, metadata }: SomeOf<ApplicationIn>): void {
  checkMetadata(metadata);
  checkControlCharacters('name', name);
  checkUid('application', uid);
}

function showApplication(application: StoredApplication): Record<string, unknown> {
  const { uid, name, throttleRate, id, createdAt, updatedAt, metadata } = application;
  // `rateLimit` is the former name of `throttleRate`, which the description hides.
  const limit = throttleRate === null ? { throttleRate } : { rateLimit: throttleRate, throttleRate };
  return { ...(uid === null ? {} : { uid }), name, ...limit, id, createdAt, updatedAt, metadata };
}
