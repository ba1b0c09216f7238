"""The FreeRADIUS configuration of each scenario; the server around it is our own template, alike for all."""

_LISTEN = """
clients loopback {
    client loopback {
        ipaddr = 127.0.0.0/8
        secret = "@SECRET@"
    }
}
server bench {
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = @AUTH@
        clients = loopback
    }
    listen {
        type = acct
        ipaddr = 127.0.0.1
        port = @ACCT@
        clients = loopback
    }
"""
_SIGN = """
        update reply {
            &Message-Authenticator := 0x00
        }"""
_SOURCE = """
        update request {
            &Tmp-String-0 := "%{Packet-Src-IP-Address}"
        }"""
_ACCEPT = """
        update control {
            &Auth-Type := Accept
        }"""
# As policy.d/accounting of FreeRADIUS 3.2.1 makes it.
_UNIQUE = """
        update request {
            &Acct-Unique-Session-Id := "%{md5:%{User-Name},%{Acct-Session-ID},%{%{NAS-IPv6-Address}:-\
%{NAS-IP-Address}},%{NAS-Identifier},%{NAS-Port-ID},%{NAS-Port}}"
        }"""

NULL = f"""{_LISTEN}
    authorize {{{_SIGN}{_ACCEPT}
    }}
    accounting {{
        ok
    }}
}}
"""
NOOP = f"""{_LISTEN}
    authorize {{{_SIGN}{_SOURCE}{_ACCEPT}
        empty
    }}
    post-auth {{
        empty
    }}
    preacct {{{_SOURCE}
    }}
    accounting {{
        empty
    }}
}}
"""


def sql_site(counter: bool) -> str:
    """Return the site of plain rlm_sql, or of rlm_sql with the stock counter behind it."""
    count = "noresetcounter" if counter else ""
    return f"""{_LISTEN}
    authorize {{{_SIGN}
        sql
        {count}
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
    }}
    preacct {{{_UNIQUE}
    }}
    accounting {{
        sql
    }}
}}
"""


EMPTY_MODULE = """
python3 empty {
    python_path = "@DIRECTORY@"
    module = empty_hooks
    mod_authorize = ${.module}
    func_authorize = hook
    mod_accounting = ${.module}
    func_accounting = hook
    mod_post_auth = ${.module}
    func_post_auth = hook
    mod_detach = ${.module}
    func_detach = detach
}
"""
EMPTY_HOOKS = '''"""An empty hook: what rlm_python3 costs by itself."""

import os


def hook(pairs):
    return 2


def detach(pairs=None):
    os._exit(0)
'''
# Everything as shipped but for a pool that has all its connections from the beginning.
SQL_MODULE = """
expr {
}
sql {
    dialect = "postgresql"
    driver = "rlm_sql_postgresql"
    radius_db = "@DATABASE@"
    acct_table1 = "radacct"
    acct_table2 = "radacct"
    postauth_table = "radpostauth"
    authcheck_table = "radcheck"
    groupcheck_table = "radgroupcheck"
    authreply_table = "radreply"
    groupreply_table = "radgroupreply"
    usergroup_table = "radusergroup"
    delete_stale_sessions = yes
    pool {
        start = 32
        min = 32
        max = 32
        spare = 32
        uses = 0
        retry_delay = 30
        lifetime = 0
        idle_timeout = 0
    }
    client_table = "nas"
    group_attribute = "SQL-Group"
    $INCLUDE @STOCK@/mods-config/sql/main/postgresql/queries.conf
}
"""
COUNTER_MODULE = """
sqlcounter noresetcounter {
    sql_module_instance = sql
    dialect = "postgresql"
    counter_name = Max-All-Session-Time
    check_name = Max-All-Session
    key = User-Name
    reset = never
    $INCLUDE @STOCK@/mods-config/sql/counter/postgresql/noresetcounter.conf
}
"""
