package main

// systemdFiles are what the scripts of Debian's packages would write for a machine with
// systemd, and the tests as a service of it.
var systemdFiles = map[string]string{
	"etc/systemd/system/cloche-tests.service": `[Unit]
Description=Tests of Cloche
After=systemd-user-sessions.service dbus.service systemd-logind.service

[Service]
Type=oneshot
ExecStart=/init run-the-tests
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
TimeoutStartSec=infinity
TasksMax=infinity
Delegate=yes
`,
	"etc/pam.d/common-auth":                   "auth sufficient pam_rootok.so\nauth required pam_unix.so\n",
	"etc/pam.d/common-account":                "account sufficient pam_rootok.so\naccount required pam_unix.so\n",
	"etc/pam.d/common-password":               "password required pam_unix.so\n",
	"etc/pam.d/common-session":                "session required pam_unix.so\nsession required pam_systemd.so\n",
	"etc/pam.d/common-session-noninteractive": "session required pam_unix.so\n",
	"etc/pam.d/other":                         "auth required pam_deny.so\naccount required pam_deny.so\npassword required pam_deny.so\nsession required pam_deny.so\n",
	"etc/pam.d/systemd-user":                  "account required pam_permit.so\nsession required pam_loginuid.so\nsession required pam_systemd.so\n",
	"etc/nsswitch.conf":                       "passwd: files systemd\ngroup: files systemd\nshadow: files\nhosts: files\n",
}
