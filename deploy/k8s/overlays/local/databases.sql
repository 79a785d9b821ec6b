-- Run once, when the volume is new: one database and one role per service.
create role events login password 'local-development-only';
create role wallet login password 'local-development-only';
create role session login password 'local-development-only';
create role game login password 'local-development-only';
create role gateway login password 'local-development-only';
create database events owner events;
create database wallet owner wallet;
create database session owner session;
create database game owner game;
create database gateway owner gateway;
revoke connect on database events, wallet, session, game, gateway from public;
