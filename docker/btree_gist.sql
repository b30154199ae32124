-- PostgreSQL runs this once, when it makes the database. The Butler's registry needs it.
CREATE EXTENSION IF NOT EXISTS btree_gist;
